"""What a run will send, as far as that is known before it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice

from ...reports.formatting import rounded_up
from ...reports.traffic.sample import is_closed, sample
from ...workloads.run_limits import RunLimits, default_warmup_s
from ...workloads.share import WHOLE, Arrivals, parts
from ...workloads.workload import ALL, ClosedLoop, OpenLoop, Workload
from ..measuring.traffic import Traffic
from .drawing import Drawn, Samples, draw

_FULL_LOAD = 0.95
"""With a smaller share of its rate on average, a run has not reached it for most of the time."""
_LONGEST_S = 1e6
"""No one measures for eleven days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a run will send.

    Attributes:
        traffic: What it was made of.
        drawn: The turns of the streams of which they are known.
        samples: What counts of them, by metric and class; class `all` has them all.
        num_requests: All of them, the warm-up with them.
        live: Sessions of the closed loops by stream.
        is_counted: How many requests there will be is known: they do not wait for a server that may be slow, or all of
            them are sent however long that takes.
        session_rate: Of the open loops, per second. `request_rate`: of all their turns, once as many sessions end as
            begin.
    """

    traffic: Traffic
    drawn: tuple[Drawn, ...]
    samples: Samples
    num_requests: int
    live: Mapping[str, int]
    is_counted: bool
    session_rate: float
    request_rate: float

    @property
    def limits(self) -> RunLimits:
        """Those of the run."""
        return self.traffic.limits

    @property
    def verdict_class(self) -> str:
        """The class that the verdict is about."""
        return self.traffic.workload.verdict_class

    @property
    def is_timed(self) -> bool:
        """When requests are due is known."""
        return not self.live

    @property
    def is_whole(self) -> bool:
        """All that is known was drawn; of a trace that is very long, only the first part is."""
        return all(one.is_whole for one in self.drawn)

    @property
    def end_s(self) -> float:
        """When nothing more becomes due, in seconds since the run began, if that is known."""
        if self.limits.duration_s is None and self.limits.num_requests is not None:
            ends_s = sorted(one.stretch * turn.start_s + turn.end_s for one in self.drawn for turn in one.turns)
            return ends_s[min(self.limits.num_requests, len(ends_s)) - 1] if ends_s else 0.0
        return self.limits.duration_s or max((one.last_s for one in self.drawn), default=0.0)

    @property
    def least_s(self) -> float:
        """What it takes at least where only the server decides: the pauses of the sessions, in as many rows as live."""
        if self.limits.num_requests is not None:
            return 0.0  # sessions end before their pauses
        paused_s = [one for drawn in self.drawn for one in drawn.paused_s]
        return max(sum(paused_s) / max(sum(self.live.values()), 1), max(paused_s, default=0.0))

    @property
    def is_rising(self) -> bool:
        """The run ends before as many sessions end as begin."""
        if not self.request_rate or not (self.limits.duration_s or self.limits.num_requests):
            return False
        usual = self.request_rate * self.end_s
        return self.num_requests < _FULL_LOAD * usual

    @property
    def num_unsent_sessions(self) -> int:
        """Sessions of a trace that begin after the end of the run."""
        return sum(one.unsent_sessions for one in self.drawn)

    @property
    def num_unsent_requests(self) -> int:
        """Theirs."""
        return sum(one.unsent_turns for one in self.drawn)

    @property
    def num_sessions(self) -> int:
        """Sessions that it starts, as far as they are known."""
        return round(sum(one.num_sessions for one in self.drawn))

    def duration_for(self, needed: int) -> float | None:
        """The shortest --duration with so many requests of the class that is judged; None if there is none."""
        limits, workload = self.limits, self.traffic.workload
        if (
            limits.duration_s is None
            or limits.most_sessions is not None
            or any(s.is_recorded for s in workload.streams)
        ):
            return None
        low_s = high_s = limits.duration_s
        drawn = self.drawn
        while self._judged(drawn, high_s) < needed:
            low_s, high_s = high_s, 2 * high_s
            if high_s > _LONGEST_S:
                return None
            drawn = tuple(_arrivals(workload, self.traffic.seed, replace(limits, duration_s=high_s)))
        while high_s - low_s > 0.01 * high_s:
            middle_s = (low_s + high_s) / 2
            low_s, high_s = (middle_s, high_s) if self._judged(drawn, middle_s) < needed else (low_s, middle_s)
        return float(rounded_up(high_s))

    def _judged(self, drawn: Iterable[Drawn], duration_s: float) -> float:
        """Requests of the judged class that count in a run of this length."""
        warmup_s = max(self.limits.warmup_s, default_warmup_s(duration_s))
        return sum(one.requests(warmup_s, duration_s, self.verdict_class) for one in drawn)


def forecast(traffic: Traffic) -> Forecast:
    """Draw what a run will send, or read it from its trace.

    Raises:
        ConfigurationError: a row of the trace is bad.
    """
    workload, limits = traffic.recipe.make().workload, traffic.limits  # a trace counts the rows that are read of it
    live = {one.name: one.pacing.concurrency for one in workload.streams if isinstance(one.pacing, ClosedLoop)}
    has_end = traffic.trace is not None or limits.most_sessions is not None
    if is_closed(workload) and has_end:
        sessions = sample(workload, traffic.seed, limits.most_sessions)
        drawn = [
            draw(
                ((0.0, one) for one in sessions),
                None,
                is_recorded=traffic.trace is not None,
                num_sessions=limits.most_sessions or math.inf,
            )
        ]
    else:
        drawn = [*_arrivals(workload, traffic.seed, limits)]
    rates = traffic.rates
    until_s = limits.duration_s or math.inf
    total = _samples(drawn, 0.0, until_s)["ttft", ALL]
    num_requests = min(total, limits.num_requests or total)
    samples = _samples(drawn, 0.0 if live else limits.warmup_s, until_s)
    return Forecast(
        traffic=traffic,
        drawn=tuple(drawn),
        samples=Counter({key: round(number * num_requests / total) for key, number in samples.items()}),
        num_requests=num_requests,
        live=live,
        is_counted=not live or (is_closed(workload) and has_end and limits.duration_s is None),
        session_rate=rates.sessions if rates is not None else 0.0,
        request_rate=rates.requests if rates is not None else 0.0,
    )


def _samples(drawn: Iterable[Drawn], from_s: float, to_s: float) -> Samples:
    found: Samples = Counter()
    for one in drawn:
        found.update(one.samples(from_s, to_s))
    for (metric, _), number in [*found.items()]:
        found[metric, ALL] += number
    return found


def _arrivals(workload: Workload, seed: int, limits: RunLimits) -> Iterator[Drawn]:
    """What is known of the streams that wait for no server."""
    streams = workload.streams
    total_rate = sum(one.pacing.rate for one in streams if isinstance(one.pacing, OpenLoop))
    for stream, part in zip(streams, parts(workload, seed, WHOLE, limits.most_sessions), strict=True):
        if isinstance(part, Arrivals):
            rate = stream.pacing.rate if isinstance(stream.pacing, OpenLoop) else 0.0
            yield draw(
                islice(part.timed, limits.most_sessions),
                limits.duration_s,
                is_recorded=stream.is_recorded,
                num_sessions=(limits.most_sessions or math.inf) * (rate / total_rate if total_rate else 1.0),
            )
