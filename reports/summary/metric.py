"""One metric of one traffic class in numbers: part of summary.json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec
from hdrh.histogram import HdrHistogram

from ...workloads.bounds import Amount, Count
from ..statistics.exceedances import Exceedances
from ..statistics.interval import Interval
from ..statistics.kaplan_meier import survival_percentiles
from ..statistics.percentile import recorded, value_at, values_at
from ..statistics.percentile_estimate import percentile_estimate, ratio_interval
from .state import FLAG_RATIO, MIN_SAMPLES, State, samples_to_judge, tail_state

_NOTHING_CUT: Mapping[int, int] = {}
_TAIL_SHARE = 0.01
"""With a larger share of values cut off, the p99 may be any of them."""
_LEAST_BEYOND = 3
"""Samples above a percentile: with fewer it is one of the last few values, by chance."""


class LowerTail(msgspec.Struct, kw_only=True):
    """A percentile below p99 that decides where p99 has too few samples: p99 is never below it.

    Attributes:
        percentile: 90 or 95.
        ratio: Over the median.
        interval: Of the ratio, at 95%; None where nothing is random.
    """

    percentile: Amount
    value_ms: Amount
    ratio: Amount
    interval: Interval | None = None


class MetricSummary(msgspec.Struct, kw_only=True):
    """One metric of one traffic class. `tail_ratio` is p99 / p50.

    Intervals are at 95% (see `percentile_estimate`); None for metrics that no verdict is about, where a run is too
    short to tell, and on simulated devices, where nothing is random.

    Attributes:
        p99_samples_needed: About how many would give the p99 an upper end; None if it has one, or no interval at all.
        normalised_ratio: The tail ratio once each request is divided by what one of its size should take.
        normalised_interval: Of that, at 95%; None where the run is too short to tell.
        lower: The percentile that decided, where p99 has too few samples.
        cut_off: Values that are lower bounds. Percentiles are those of Kaplan and Meier then.
    """

    count: Count
    mean_ms: Amount
    p50_ms: Amount
    p90_ms: Amount
    p99_ms: Amount
    p999_ms: Amount
    max_ms: Amount
    tail_ratio: Amount
    verdict: State
    p50_interval_ms: Interval | None = None
    p99_interval_ms: Interval | None = None
    tail_ratio_interval: Interval | None = None
    p99_samples_needed: Count | None = None
    normalised_ratio: Amount | None = None
    normalised_interval: Interval | None = None
    lower: LowerTail | None = None
    cut_off: Count = 0
    percentiles_ms: dict[str, Amount] = {}

    @property
    def samples_for_p99(self) -> int:
        """About how many would bound the p99 from above."""
        return self.p99_samples_needed or max(
            samples_to_judge(0.99, is_exact=False), 0 if self.count < MIN_SAMPLES else 2 * self.count
        )

    @property
    def tail(self) -> tuple[str, float, float]:
        """The percentile that the verdict rests on, its value in milliseconds, and its ratio to the median."""
        if self.lower is None:
            return "p99", self.p99_ms, self.tail_ratio
        return f"p{self.lower.percentile:g}", self.lower.value_ms, self.lower.ratio


def summarise_metric(
    histogram: HdrHistogram,
    blocks: Sequence[Counter[int]] = (),
    percentiles: Sequence[float] = (),
    *,
    cut_us: Mapping[int, int] = _NOTHING_CUT,
    is_exact: bool = False,
) -> MetricSummary:
    """Percentiles, tail ratio and verdict of one histogram of microseconds; intervals where its blocks are there.

    Args:
        histogram: All values, lower bounds among them.
        blocks: The same by time.
        percentiles: Those that a report shows, beside the usual ones.
        cut_us: How often each value is a lower bound: of a request that was cut off.
        is_exact: Nothing about the values is random, so that there are no intervals.
    """
    count = histogram.get_total_count()
    known_us = _percentiles_us(histogram, cut_us, percentiles)

    def at(percentile: float) -> float:
        return known_us[percentile] / 1e3

    p50, p99 = at(50), at(99)
    ratio = p99 / p50 if p50 else 0.0
    exceedances = Exceedances(() if is_exact else blocks)
    has_enough = count >= MIN_SAMPLES
    of_p50 = percentile_estimate(exceedances, 0.5) if has_enough else None
    of_p99 = percentile_estimate(exceedances, 0.99) if has_enough else None
    of_ratio = None
    if of_p50 is not None and of_p99 is not None:
        of_ratio = _never_below_one(ratio_interval(exceedances, of_p99, of_p50))
    p99_interval_ms = None if of_p99 is None else of_p99.interval_ms
    if p99_interval_ms is not None and _is_cut_beyond(p99_interval_ms, p99, sum(cut_us.values()), count):
        p99_interval_ms = Interval(p99_interval_ms.low)
        of_ratio = None if of_ratio is None else Interval(of_ratio.low)
    state = tail_state(count, ratio, of_ratio, is_exact=is_exact)
    is_open = state in (State.TOO_FEW, State.BORDERLINE) and (is_exact or bool(blocks))
    lower = _lower_tail(histogram, exceedances, is_exact=is_exact) if is_open else None
    return MetricSummary(
        count=count,
        mean_ms=round(_mean_us(histogram) / 1e3, 3),
        p50_ms=p50,
        p90_ms=at(90),
        p99_ms=p99,
        p999_ms=at(99.9),
        max_ms=float(histogram.get_max_value()) / 1e3,
        tail_ratio=round(ratio, 3),
        verdict=state if lower is None else State.FLAGGED,
        p50_interval_ms=None if of_p50 is None else of_p50.interval_ms,
        p99_interval_ms=p99_interval_ms,
        tail_ratio_interval=of_ratio,
        p99_samples_needed=None if of_p99 is None else of_p99.samples_needed,
        lower=lower,
        cut_off=sum(cut_us.values()),
        percentiles_ms={f"{percentile:g}": at(percentile) for percentile in percentiles},
    )


_USUAL = (50.0, 90.0, 99.0, 99.9)


def _percentiles_us(
    histogram: HdrHistogram, cut_us: Mapping[int, int], percentiles: Sequence[float]
) -> dict[float, int]:
    """Those asked for and the usual ones. What lies beyond everything that was watched counts as the largest value."""
    wanted = sorted({*_USUAL, *percentiles})
    if not cut_us:
        return dict(zip(wanted, values_at(histogram, wanted), strict=True))
    largest_us = int(histogram.get_max_value())
    found = survival_percentiles(histogram, cut_us, wanted)
    return {one: largest_us if value is None else value for one, value in zip(wanted, found, strict=True)}


def _never_below_one(interval: Interval) -> Interval:
    """A p99 is no smaller than its median, however little is known of the two."""
    return Interval(max(interval.low, 1.0), max(interval.high, 1.0))


def _is_cut_beyond(interval: Interval, p99_ms: float, num_cut: int, count: int) -> bool:
    """Whether an interval of values, which takes lower bounds for values, cannot say how high the p99 may be."""
    return num_cut > _TAIL_SHARE * count or (num_cut > 0 and p99_ms > interval.high)


_LOWER = (0.95, 0.9)


def _lower_tail(histogram: HdrHistogram, exceedances: Exceedances, *, is_exact: bool) -> LowerTail | None:
    """The highest percentile below p99 that is above three medians for certain; None if there is none."""
    count, p50_us = histogram.get_total_count(), value_at(histogram, 50)
    for share in _LOWER:
        if count * (1 - share) < _LEAST_BEYOND or not p50_us:
            continue
        value_us = value_at(histogram, 100 * share)
        if value_us <= FLAG_RATIO * p50_us:
            continue
        interval = None if is_exact else _ratio_interval(exceedances, share)
        if is_exact or (interval is not None and interval.low > FLAG_RATIO):
            return LowerTail(
                percentile=100 * share,
                value_ms=value_us / 1e3,
                ratio=round(value_us / p50_us, 3),
                interval=interval,
            )
    return None


def _ratio_interval(exceedances: Exceedances, share: float) -> Interval | None:
    over, under = percentile_estimate(exceedances, share), percentile_estimate(exceedances, 0.5)
    return None if over is None or under is None else ratio_interval(exceedances, over, under)


def _mean_us(histogram: HdrHistogram) -> float:
    """As the library's own, which walks all buckets through iterators and takes fifty times as long."""
    total = sum(count * (lowest + highest) for lowest, highest, count in recorded(histogram))
    return total / 2 / max(int(histogram.get_total_count()), 1)
