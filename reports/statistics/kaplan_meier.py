"""Percentiles of times of which some are known only to be longer than they were watched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from hdrh.histogram import HdrHistogram

from .percentile import recorded

_ROUNDING = 1e-9


def survival_percentiles(
    histogram: HdrHistogram, cut_us: Mapping[int, int], percentiles: Sequence[float]
) -> list[int | None]:
    """Percentiles (0 to 100) by the product-limit estimator (Kaplan and Meier, 1958).

    A request that was cut off counts for as long as it was watched, and then leaves the question open: it is no value
    of its own, as it would be if the time at which it was cut off were taken for its end.

    Args:
        histogram: All values in microseconds, those that were cut off among them.
        cut_us: How often each value is one that was cut off.
        percentiles: In ascending order.

    Returns:
        Microseconds; None where the percentile lies beyond what was watched.
    """
    found: list[int | None] = []
    at_risk, survival = int(histogram.get_total_count()), 1.0
    wanted = list(percentiles)
    for value_us, ended, cut in _in_order(histogram, cut_us):
        if ended:
            survival *= 1 - ended / at_risk
        while wanted and 1 - survival >= wanted[0] / 100 - _ROUNDING:
            found.append(value_us)
            wanted.pop(0)
        at_risk -= ended + cut
    return found + [None] * len(wanted)


def _in_order(histogram: HdrHistogram, cut_us: Mapping[int, int]) -> Iterator[tuple[int, int, int]]:
    """By bucket: its largest value, how many ended there, and how many were cut off."""
    cut: Counter[int] = Counter()
    for value_us, count in cut_us.items():
        cut[int(histogram.get_highest_equivalent_value(value_us))] += count
    for _, highest_us, count in recorded(histogram):
        yield highest_us, count - cut[highest_us], cut[highest_us]
