"""Percentiles by nearest rank, as in the Java HdrHistogram: the p99 is the smallest value that 99% do not exceed."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, compress

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
    (value,) = values_at(histogram, (percentile,))
    return value


def filled(histogram: HdrHistogram) -> list[tuple[int, int]]:
    """(index, count) of each place that has any, in ascending order.

    hdrh itself calls a method for each of its 10,000s of places, and does so again for each percentile and mean.
    """
    counts = histogram.counts[:]
    return [(index, counts[index]) for index in compress(range(len(counts)), counts)]


def recorded(histogram: HdrHistogram) -> Iterator[tuple[int, int, int]]:
    """(lowest value, highest value, count) of each place that has any, in ascending order."""
    for index, count in filled(histogram):
        lowest = int(histogram.get_value_from_index(index))
        yield lowest, int(histogram.get_highest_equivalent_value(lowest)), count


def values_at(histogram: HdrHistogram, percentiles: Sequence[float]) -> list[int]:
    """The value at each of these percentiles, in their order, as `value_at` gives them."""
    count = int(histogram.get_total_count())
    if count == 0:
        return [0] * len(percentiles)
    places = filled(histogram)
    totals = list(accumulate(number for _, number in places))

    def value(percentile: float) -> int:
        if percentile <= 0:
            return int(histogram.get_value_at_percentile(0))
        index, _ = places[bisect_left(totals, rank_at(percentile, count))]
        return int(histogram.get_highest_equivalent_value(histogram.get_value_from_index(index)))

    return [value(percentile) for percentile in percentiles]
