"""The search for the highest request rate at which objectives hold: what each rate came to, and why it did not hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from ...engine.errors import ConfigurationError
from ...reports.recording.recorder import ALL
from ...reports.run.command import Command
from ...reports.run.folder import MOST_SUMMARY_BYTES, SWEEP
from ...reports.run.line_file import UNREADABLE
from ...reports.summary.answers import streaming_doubt
from ...reports.summary.doubts import client_problems, doubts
from ...reports.summary.finding import Finding, Label
from ...reports.summary.steadiness import grown_in_words
from ...reports.summary.summary import Summary
from ...workloads.regular_file import read_regular
from .ramp import Ramp
from .rate_search import Found, Limit, highest_rate
from .traffic import Traffic

PRECISION = 1.05
LEAST_GROWTH = 1.05
"""Of the load: from here on it counts."""
SPARE_GROWTH = 1.25
"""Of requests in flight, beyond that of the load."""
LONGER = 2
"""A factor on the time of a rate's second try, where nothing but growth spoke against it: luck in the arrivals of a
minute looks like growth, and a second try has the same arrivals."""
_OF_GROWTH = (Label.OVERLOADED, Label.NOT_STEADY)


class SweepPoint(msgspec.Struct, kw_only=True):
    """One try of a rate.

    Attributes:
        request_rate: Requests per second that were asked for; `session_rate` is what they come to.
        offered_rate: Requests per second that were due in the measured part.
        why_not: What did not hold; empty if all did.
        folder: Its run, with a report in it.
        is_of_client: The client could not keep up, so that nothing is known of the server at this rate.
    """

    request_rate: float
    session_rate: float
    goodput_share: float
    achieved_rate: float
    offered_rate: float
    ttft_p99_ms: float | None
    why_not: list[str]
    folder: str
    is_of_client: bool = False


class SweepReport(msgspec.Struct, kw_only=True):
    """What sweep.json holds.

    Attributes:
        highest_rate: Requests per second; None if none held. `failed_rate` likewise.
        requests_per_session: On average. A rate divided by it is one of sessions.
        cache: What a prefix cache may have seen of the texts of each try (see `CacheMode`).
        warmup_s: Of each try. `ramp_s`: until then the load of a try rises, because its sessions have just begun.
        command: What repeats it; None: an older version saved it.
    """

    objectives: dict[str, float]
    required_share: float
    highest_rate: float | None
    failed_rate: float | None
    requests_per_session: float
    limit: Limit
    cache: str
    warmup_s: float
    ramp_s: float
    points: list[SweepPoint]
    command: Command | None = None


def read_sweep(folder: Path) -> SweepReport:
    """What a sweep has saved.

    Raises:
        ConfigurationError: it cannot be read, or is damaged.
    """
    path = folder / SWEEP
    try:
        return msgspec.json.decode(read_regular(path, MOST_SUMMARY_BYTES, follows_links=False), type=SweepReport)
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None
    except UNREADABLE as error:
        raise ConfigurationError(f"{path} is damaged, or of another version: {error}") from None


class InterruptedSweepError(Exception):
    """A point was cut short: what there is, is in the points."""


@dataclass(slots=True)
class Sweep:
    """Measures rates until the highest that holds is known.

    Attributes:
        measure: A run at this rate, into this folder, for so many times as long as usual.
        traffic: What each try sends, at its own rate.
        ramp: How long the load of a try rises.
        requests_per_session: The mean of the traffic.
        is_exact: Nothing is left to chance: a second try as long as the first would come to the same.
    """

    measure: Callable[[float, Path, int], Summary]
    folder: Path
    required_share: float
    on_point: Callable[[SweepPoint], None]
    traffic: Traffic
    ramp: Ramp
    requests_per_session: float = 1.0
    is_exact: bool = False
    points: list[SweepPoint] = field(default_factory=list)
    _grown: set[float] = field(default_factory=set)
    """Rates whose last try failed for nothing but growth."""
    objectives: dict[str, float] = field(default_factory=dict)

    def run(self, first_rate: float, max_rate: float) -> SweepReport:
        """Search. An interrupted search comes to what was found until then."""
        found = Found(None, None, Limit.INTERRUPTED)
        try:
            found = highest_rate(self._holds, first_rate=first_rate, max_rate=max_rate, precision=PRECISION)
        except InterruptedSweepError:
            held = [point.request_rate for point in self.points if not point.why_not]
            found = Found(max(held, default=None), None, Limit.INTERRUPTED)
        return SweepReport(
            objectives=self.objectives,
            required_share=self.required_share,
            highest_rate=found.rate,
            failed_rate=found.failed_rate,
            requests_per_session=round(self.requests_per_session, 4),
            limit=found.limit,
            cache=self.traffic.recipe.cache,
            warmup_s=self.traffic.limits.warmup_s,
            ramp_s=round(self.ramp.length_s, 1),
            points=self.points,
        )

    def _holds(self, rate: float) -> bool:
        is_again = any(point.request_rate == rate for point in self.points)
        if is_again and self.is_exact and rate not in self._grown:
            return False
        folder = self.folder / (f"rate-{rate:g}" + ("-again" if is_again else ""))
        summary = self.measure(rate, folder, LONGER if rate in self._grown else 1)
        if not summary.is_complete:
            raise InterruptedSweepError
        if summary.goodput is None:
            raise ConfigurationError(
                f"no request was due within the measured part at {rate:g}/s: give a longer --duration"
            )
        self.objectives = summary.goodput.objectives
        ttft = summary.metrics.get("ttft", {}).get("all")
        warmup_s = self.traffic.limits.warmup_s
        point = SweepPoint(
            request_rate=rate,
            session_rate=round(rate / self.requests_per_session, 6),
            goodput_share=summary.goodput.share,
            achieved_rate=summary.achieved_rate,
            offered_rate=summary.offered_rate,
            ttft_p99_ms=ttft.p99_ms if ttft is not None else None,
            why_not=why_not(summary, self.required_share, self.ramp.growth(warmup_s, warmup_s + summary.measured_s)),
            folder=str(folder),
            is_of_client=bool(client_problems(summary)),
        )
        self.points.append(point)
        self.on_point(point)
        if point.why_not and has_only_grown(summary, self.required_share):
            self._grown.add(rate)
        return not point.why_not


def has_only_grown(summary: Summary, required_share: float) -> bool:
    """Whether at most growth speaks against a rate: all else is as it should be."""
    assert summary.goodput is not None
    return summary.goodput.share >= required_share and all(_is_growth(summary, one) for one in doubts(summary))


def _is_growth(summary: Summary, problem: Finding) -> bool:
    return problem.label in _OF_GROWTH and summary.trend is not None


def why_not(summary: Summary, required_share: float, growth: float = 1.0) -> list[str]:
    """What shows that a rate did not hold; empty if it did.

    `growth`: by how much the load rose from the first half of the measured part to the second, because sessions had
    just begun. As long as requests in flight grew hardly more than that, growth is the workload's.
    """
    assert summary.goodput is not None
    steady, trend = summary.steady_state, summary.trend
    is_rising = (
        growth > LEAST_GROWTH and steady is not None and steady.second_half <= steady.first_half * growth * SPARE_GROWTH
    )
    found, has_grown = [], False
    for problem in doubts(summary):
        if not _is_growth(summary, problem) or trend is None:
            found.append(problem.words)
        elif not is_rising:
            has_grown = True
            found.append(f"{problem.label.lower()}: {grown_in_words(trend)}")
    if summary.goodput.share < required_share:
        found.append(f"{summary.goodput.share:.1%} met the objectives, of {required_share:.1%} required")
        if (streaming := streaming_doubt(summary, ALL)) is not None:
            found.append(streaming.first_sentence)
    if steady is not None and not (steady.is_steady or is_rising or has_grown):
        found.append(f"requests in flight grew from {steady.first_half:.0f} to {steady.second_half:.0f}")
    return found
