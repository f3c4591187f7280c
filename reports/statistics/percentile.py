"""Percentiles by the rule of the Java HdrHistogram: the least value that so large a share is no larger than."""

from __future__ import annotations

import math

from hdrh.histogram import HdrHistogram


def rank_at(percentile: float, count: int) -> int:
    """Which of `count` values in order, counted from 1, a percentile (0 to 100) is.

    hdrh rounds to the nearest rank, and so takes the value before in half of all cases: of 178 requests its p99 is the
    second slowest, where two values are 1.1% of all.
    """
    return max(1, math.ceil(min(percentile, 100.0) * count / 100 - 1e-9))


def value_at(histogram: HdrHistogram, percentile: float) -> int:
    """The value at a percentile (0 to 100): the largest of its bucket, at 0 the smallest. Of nothing, 0."""
    count = int(histogram.get_total_count())
    if count == 0 or percentile <= 0:
        return int(histogram.get_value_at_percentile(0)) if count else 0
    # hdrh's rank of this is exactly ours.
    return int(histogram.get_value_at_percentile(100 * rank_at(percentile, count) / count))
