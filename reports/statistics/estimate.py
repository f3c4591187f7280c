"""A statistic of a run with its interval, and ratios of two."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .interval import Interval


@dataclass(frozen=True, slots=True)
class Estimate:
    """A percentile or a mean, in microseconds, with its interval at 95%.

    Attributes:
        high_us: Infinite if there is no upper end.
        share: Of a percentile, how much of the values is no larger; None of a mean.
        residuals: By block of time: by how much there is more above the value than there would be if all blocks were
            alike. They say how two statistics of one run move together.
        samples_needed: About how many would give it an upper end; None if it has one.
    """

    value_us: float
    low_us: float
    high_us: float
    residuals: Sequence[float]
    samples_needed: int | None = None
    share: float | None = None

    @property
    def interval_ms(self) -> Interval:
        """In milliseconds."""
        return Interval(round(self.low_us / 1e3, 4), round(self.high_us / 1e3, 4))


def quotient(over: Estimate, under: Estimate) -> Interval:
    """The interval of a ratio of two statistics of one run: MOVER on logarithms (Zou and Donner, 2008).

    Both must be above 0.
    """
    together = _correlation(over.residuals, under.residuals)
    ratio = over.value_us / under.value_us
    lower = _reach(_log(over.value_us, over.low_us), _log(under.high_us, under.value_us), together)
    upper = _reach(_log(over.high_us, over.value_us), _log(under.value_us, under.low_us), together)
    return Interval(round(ratio * math.exp(-lower), 4), round(ratio * math.exp(upper), 4))


def difference_ms(one: Estimate, other: Estimate) -> Interval | None:
    """The interval of one statistic less another of the same run, in milliseconds: MOVER (Zou and Donner, 2008).

    None if the other has no upper end: then it has no lower one.
    """
    together = _correlation(one.residuals, other.residuals)
    lower = _reach(one.value_us - one.low_us, other.high_us - other.value_us, together)
    upper = _reach(one.high_us - one.value_us, other.value_us - other.low_us, together)
    if math.isinf(lower):
        return None
    more = one.value_us - other.value_us
    return Interval(round((more - lower) / 1e3, 4), round((more + upper) / 1e3, 4))


def _log(larger: float, smaller: float) -> float:
    return math.log(larger / smaller) if smaller > 0 else math.inf


def _reach(first: float, other: float, together: float) -> float:
    if math.isinf(first) or math.isinf(other):
        return math.inf
    return math.sqrt(max(first * first + other * other - 2 * together * first * other, 0.0))


def _correlation(first: Sequence[float], other: Sequence[float]) -> float:
    """From -1 to 1; 0 where one of them never varies."""
    scale = math.sqrt(sum(value * value for value in first) * sum(value * value for value in other))
    return sum(one * two for one, two in zip(first, other, strict=True)) / scale if scale > 0 else 0.0
