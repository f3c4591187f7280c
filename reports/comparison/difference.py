"""One number of two targets side by side, and whether it really differs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec
from hdrh.histogram import HdrHistogram

from ..statistics.distribution import OfDistribution, RatioOf
from ..statistics.interval import Interval
from ..summary.finding import Tone
from ..summary.metric import MetricSummary
from ..summary.slowdown import SlowdownSummary
from ..summary.state import MIN_SAMPLES
from ..summary.statistic import P50, P99, Statistic
from ..summary.summary import Summary
from .change import Change

POWER = 0.9
"""How often the recommended number of requests should find a difference of the size looked for."""


class Verdict(StrEnum):
    """What can be said of a difference."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "same"
    """It is smaller than the floor."""
    INCONCLUSIVE = "inconclusive"
    """It may be nothing, and it may be more than the floor."""
    TOO_FEW = "too few"
    UNTRUSTED = "not trusted"
    """One of the runs is not to be believed."""
    NOT_JUDGED = "not judged"
    """A percentile beyond p99: a stretch of time has too few requests for it."""

    @classmethod
    def _missing_(cls, value: object) -> Verdict | None:
        """Older comparisons have other words."""
        return {"unclear": cls.INCONCLUSIVE, "too few samples": cls.TOO_FEW}.get(str(value))

    @property
    def tone(self) -> Tone:
        """How a reader should take it."""
        return _TONES.get(self, Tone.CAUTION)


_TONES = {
    Verdict.BETTER: Tone.GOOD,
    Verdict.WORSE: Tone.BAD,
    Verdict.SAME: Tone.PLAIN,
    Verdict.NOT_JUDGED: Tone.PLAIN,
}


class Floor(msgspec.Struct, frozen=True, kw_only=True):
    """Differences too small to matter: below both a share of the value and a time."""

    share: float = 0.03
    ms: float = 0.1


class Difference(msgspec.Struct, kw_only=True):
    """A statistic of a metric, of the first target and of another.

    Attributes:
        statistic: `p50` and `p99` in milliseconds, `p99/p50`, `slowdown p50`; empty for `output_tokens_per_s`, and for
            `goodput`, the share of requests that met all objectives.
        change: Other over first, stretch by stretch of time (see `change`), not the quotient of the two values. Of
            `goodput`, the other's share less the first's.
        low: Where the true change lies; all of a comparison's intervals together hold at 95%. `high` likewise.
        is_restless: The rounds differ by more than chance; the interval is as wide as they require.
        needed_requests: How many each target needs to detect a change of the size looked for; None if unknown.
    """

    metric: str
    statistic: str
    first: float
    other: float
    verdict: Verdict
    change: float | None = None
    low: float | None = None
    high: float | None = None
    is_restless: bool = False
    needed_requests: int | None = None

    @property
    def name(self) -> str:
        """As in a rule, with a space."""
        return f"{self.metric} {self.statistic}".strip()

    @property
    def is_real(self) -> bool:
        """Whether one is better than the other."""
        return self.verdict in (Verdict.BETTER, Verdict.WORSE)

    @property
    def is_relative(self) -> bool:
        """Whether it says how uneven or how crowded a target is, not how slow: it counts where nothing else differs."""
        return self.statistic in (RATIO, SLOWDOWN)

    @property
    def is_less_better(self) -> bool:
        """Whether the lower value is the better one."""
        return self.metric not in (THROUGHPUT, GOODPUT)

    @property
    def is_share(self) -> bool:
        """Whether it is a share of requests, whose change is a difference and no factor."""
        return self.metric == GOODPUT


RATIO = "p99/p50"
SLOWDOWN = "slowdown p50"


@dataclass(frozen=True, slots=True)
class Compared:
    """What is compared of a latency.

    Attributes:
        value: Of a metric, by its summary or its histogram; None if neither has it.
        is_time: In milliseconds; else a ratio.
        is_judged: Whether stretches of time have enough requests to tell a change of it.
    """

    name: str
    value: Callable[[MetricSummary, HdrHistogram | None], float | None]
    of_distribution: OfDistribution
    min_samples: int
    is_time: bool = True
    is_judged: bool = True


THROUGHPUT = "output_tokens_per_s"
GOODPUT = "goodput"
_ALWAYS = (50.0, 99.0)


def compared_statistics(percentiles: Iterable[float] = ()) -> list[Compared]:
    """What is compared of each latency: p50, p99, these percentiles, and p99/p50."""
    ratio = Compared(
        RATIO,
        lambda measured, _: measured.tail_ratio,
        RatioOf(P99.of_distribution, P50.of_distribution),
        MIN_SAMPLES,
        is_time=False,
    )
    return [*map(_percentile, sorted({*_ALWAYS, *percentiles})), ratio]


def _percentile(percentile: float) -> Compared:
    statistic = Statistic(f"p{percentile:g}", percentile / 100)
    least = MIN_SAMPLES if percentile == _ALWAYS[-1] else statistic.min_samples
    return Compared(statistic.name, statistic.of, statistic.of_distribution, least, is_judged=percentile <= _ALWAYS[-1])


def latency_difference(
    metric: str,
    compared: Compared,
    values: tuple[float, float],
    num_samples: int,
    change: Change | None,
    confidence: float,
    floor: Floor,
    *,
    is_trusted: bool,
) -> Difference:
    """The difference of a latency. Less is better. `num_samples`: of the target that has fewer."""
    first, other = values
    verdict = Verdict.TOO_FEW if compared.is_judged else Verdict.NOT_JUDGED
    difference = Difference(metric=metric, statistic=compared.name, first=first, other=other, verdict=verdict)
    if not compared.is_judged or change is None or num_samples < compared.min_samples:
        return difference
    least = max(floor.share, floor.ms / first) if compared.is_time and first else floor.share
    return _judged(difference, change, confidence, least, is_less_better=True, is_trusted=is_trusted)


def throughput_difference(
    summaries: tuple[Summary, Summary], change: Change | None, confidence: float, floor: Floor, *, is_trusted: bool
) -> Difference:
    """The difference in output tokens per second. More is better."""
    first, other = (summary.output_tokens_per_s for summary in summaries)
    difference = Difference(metric=THROUGHPUT, statistic="", first=first, other=other, verdict=Verdict.TOO_FEW)
    if change is None:
        return difference
    is_trusted = is_trusted and not any(summary.share_without_tokens for summary in summaries)
    return _judged(difference, change, confidence, floor.share, is_less_better=False, is_trusted=is_trusted)


def slowdown_difference(
    metric: str,
    measured: tuple[SlowdownSummary, SlowdownSummary],
    change: Change | None,
    confidence: float,
    floor: Floor,
    *,
    is_trusted: bool,
) -> Difference:
    """The difference of a median slowdown. Less is better."""
    first, other = (one.p50 for one in measured)
    difference = Difference(metric=metric, statistic=SLOWDOWN, first=first, other=other, verdict=Verdict.TOO_FEW)
    if change is None or min(one.count for one in measured) < P50.min_samples:
        return difference
    return _judged(difference, change, confidence, floor.share, is_less_better=True, is_trusted=is_trusted)


def _judged(
    difference: Difference, change: Change, confidence: float, least: float, *, is_less_better: bool, is_trusted: bool
) -> Difference:
    """`least`: a change by less than this share does not matter."""
    interval = change.interval(confidence)
    is_less = interval.high < 1 and change.ratio <= 1 / (1 + least)
    is_more = interval.low > 1 and change.ratio >= 1 + least
    if not is_trusted:
        verdict = Verdict.UNTRUSTED
    elif (is_less or is_more) and not _contradicts(difference, interval, least):
        verdict = Verdict.BETTER if is_less == is_less_better else Verdict.WORSE
    else:
        is_small = interval.low > 1 / (1 + least) and interval.high < 1 + least
        verdict = Verdict.SAME if is_small else Verdict.INCONCLUSIVE
    return msgspec.structs.replace(
        difference,
        verdict=verdict,
        change=_significant(change.ratio),
        low=_significant(interval.low),
        high=_significant(interval.high),
        is_restless=change.is_restless,
    )


def _significant(value: float) -> float:
    """To five digits, and never 0: others divide by it."""
    return float(f"{value:.5g}")


_FAR_APART = 1.25


def _contradicts(difference: Difference, interval: Interval, least: float) -> bool:
    """Whether the whole runs speak against a change that lies in this interval, above or below 1.

    The whole runs may say the opposite of a tail ratio's change: if every request waits for a while and later none
    does, each stretch is even and the whole is not. And where one in a hundred waits is of another kind, such as gaps
    with a prefill in them, a p99 is of that kind in some stretches and not in others: the mean over them changes
    several-fold with the share of such waits, though the p99 of the whole runs is the same, or changes the other way.
    """
    if not difference.first or not difference.other:
        return False
    whole = difference.other / difference.first
    is_more = interval.low > 1
    if (whole > 1) != is_more:
        return True
    is_the_same = 1 / (1 + least) < whole < 1 + least
    return is_the_same and (interval.low > _FAR_APART * whole if is_more else interval.high * _FAR_APART < whole)


def without_false_ratios(differences: Sequence[Difference]) -> list[Difference]:
    """The differences of one metric, a ratio's inconclusive where it changed because the median did.

    A ratio that falls because the median rose is no improvement: it counts only if p99 is known not to be worse.
    """
    by_name = {one.statistic: one.verdict for one in differences}
    p99 = by_name.get("p99", Verdict.INCONCLUSIVE)
    allowed = {Verdict.BETTER: (Verdict.BETTER, Verdict.SAME), Verdict.WORSE: (Verdict.WORSE, Verdict.SAME)}
    return [
        msgspec.structs.replace(one, verdict=Verdict.INCONCLUSIVE)
        if one.statistic == RATIO and one.is_real and p99 not in allowed[one.verdict]
        else one
        for one in differences
    ]
