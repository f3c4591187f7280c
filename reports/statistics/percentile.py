"""Percentiles by nearest rank, as in the Java HdrHistogram: the p99 is the smallest value that 99% do not exceed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from hdrh.histogram import HdrHistogram


def rank_at(percentile: float, count: int) -> int:
    """The rank of a percentile (0 to 100) among `count` values in order, counted from 1.

    hdrh rounds to the nearest rank, and so takes the value before in half of all cases: of 178 requests its p99 is the
    second slowest, where two values are 1.1% of all.
    """
    return max(1, math.ceil(min(percentile, 100.0) * count / 100 - 1e-9))


def nearest_rank(ordered: Sequence[int], percentile: float) -> int:
    """A percentile (0 to 100) of values in ascending order; at least one."""
    return ordered[rank_at(percentile, len(ordered)) - 1]


def value_at_rank(counts: Iterable[tuple[int, int]], rank: int) -> int:
    """The value of this rank, from pairs of a value and how often it occurs, in ascending order. Of nothing, 0."""
    seen = 0
    for value, count in counts:
        seen += count
        if seen >= rank:
            return value
    return 0


def value_at(histogram: HdrHistogram, percentile: float) -> int:
    """The value at a percentile (0 to 100): the largest of its bucket, at 0 the smallest. Of nothing, 0."""
    count = int(histogram.get_total_count())
    if count == 0 or percentile <= 0:
        return int(histogram.get_value_at_percentile(0)) if count else 0
    # hdrh's rank of this is exactly ours.
    return int(histogram.get_value_at_percentile(100 * rank_at(percentile, count) / count))
