"""One metric of one traffic class in numbers: part of summary.json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec
from hdrh.histogram import HdrHistogram

from ..statistics.bootstrap import OfResample, intervals, p50_ms, p99_ms, tail_ratio
from ..statistics.interval import Interval
from ..statistics.percentile import value_at
from .state import FLAG_RATIO, MIN_SAMPLES, State, tail_state

_LEAST_BEYOND = 3
"""Samples above a percentile: with fewer it is one of the last few values, by chance."""


class LowerTail(msgspec.Struct, kw_only=True):
    """A percentile below p99 that decides where p99 has too few samples: p99 is never below it.

    Attributes:
        percentile: 90 or 95.
        ratio: Over the median. `interval`: of that, at 95%.
    """

    percentile: float
    value_ms: float
    ratio: float
    interval: Interval


class MetricSummary(msgspec.Struct, kw_only=True):
    """One metric of one traffic class. `tail_ratio` is p99 / p50.

    Intervals are at 95%, by a block bootstrap over time; None for metrics that no verdict is about, and where a run is
    too short to tell.

    Attributes:
        normalised_ratio: The tail ratio once each request is divided by what one of its size should take.
        normalised_interval: Of that, at 95%; None where the run is too short to tell.
        lower: The percentile that decided, where p99 has too few samples.
    """

    count: int
    mean_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    tail_ratio: float
    verdict: State
    p50_interval_ms: Interval | None = None
    p99_interval_ms: Interval | None = None
    tail_ratio_interval: Interval | None = None
    normalised_ratio: float | None = None
    normalised_interval: Interval | None = None
    lower: LowerTail | None = None
    percentiles_ms: dict[str, float] = {}

    @property
    def tail(self) -> tuple[str, float, float]:
        """The percentile that the verdict rests on, its value in milliseconds, and its ratio to the median."""
        if self.lower is None:
            return "p99", self.p99_ms, self.tail_ratio
        return f"p{self.lower.percentile:g}", self.lower.value_ms, self.lower.ratio


def summarise_metric(
    histogram: HdrHistogram, blocks: Sequence[Counter[int]] = (), percentiles: Sequence[float] = ()
) -> MetricSummary:
    """Percentiles, tail ratio and verdict of one histogram of microseconds; intervals where its blocks are there."""
    count = histogram.get_total_count()

    def at(percentile: float) -> float:
        return value_at(histogram, percentile) / 1e3

    p50, p99 = at(50), at(99)
    ratio = p99 / p50 if p50 else 0.0
    found = intervals(blocks, (p50_ms, p99_ms, tail_ratio)) if count >= MIN_SAMPLES else None
    of_p50, of_p99, of_ratio = found or (None, None, None)
    lower = _lower_tail(histogram, blocks) if count < MIN_SAMPLES else None
    return MetricSummary(
        count=count,
        mean_ms=round(_mean_us(histogram) / 1e3, 3),
        p50_ms=p50,
        p90_ms=at(90),
        p99_ms=p99,
        p999_ms=at(99.9),
        max_ms=float(histogram.get_max_value()) / 1e3,
        tail_ratio=round(ratio, 3),
        verdict=tail_state(count, ratio, of_ratio) if lower is None else State.FLAGGED,
        p50_interval_ms=of_p50,
        p99_interval_ms=of_p99,
        tail_ratio_interval=of_ratio,
        lower=lower,
        percentiles_ms={f"{percentile:g}": at(percentile) for percentile in percentiles},
    )


_LOWER = (0.95, 0.9)


def _lower_tail(histogram: HdrHistogram, blocks: Sequence[Counter[int]]) -> LowerTail | None:
    """The highest percentile below p99 that is above three medians for certain; None if there is none."""
    count, p50_us = histogram.get_total_count(), value_at(histogram, 50)
    for share in _LOWER:
        if count * (1 - share) < _LEAST_BEYOND or not p50_us:
            continue
        value_us = value_at(histogram, 100 * share)
        if value_us <= FLAG_RATIO * p50_us:
            continue
        found = intervals(blocks, (_ratio_at(share),))
        if found is not None and found[0].low > FLAG_RATIO:
            return LowerTail(
                percentile=100 * share,
                value_ms=value_us / 1e3,
                ratio=round(value_us / p50_us, 3),
                interval=found[0],
            )
    return None


def _ratio_at(share: float) -> OfResample:
    return lambda resample: resample.quantile_us(share) / resample.quantile_us(0.5)


def _mean_us(histogram: HdrHistogram) -> float:
    """As the library's own, which walks all buckets through iterators and takes fifty times as long."""
    total = 0
    for index, count in enumerate(histogram.counts):
        if count:
            lowest = histogram.get_value_from_index(index)
            total += int(count) * (int(lowest) + int(histogram.get_highest_equivalent_value(lowest)))
    return total / 2 / max(int(histogram.get_total_count()), 1)
