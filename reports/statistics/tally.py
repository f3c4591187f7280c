"""Numbers counted rather than kept: percentiles of any number of them in bounded memory."""

from __future__ import annotations

from collections import Counter

from ...engine.integers import rounded_to_digits
from .percentile import rank_at, value_at_rank

_MOST_DIFFERENT = 20_000
_DIGITS = 3


class Tally:
    """Counts of whole numbers from 0. Exact until there are many different ones, then to three significant digits.

    For lengths and waits before a run, a million of them: a histogram in pure Python walks its buckets for each.
    """

    __slots__ = ("_counts", "count", "largest", "sum")

    def __init__(self) -> None:
        self.count = 0
        self.sum = 0
        self.largest = 0
        self._counts: Counter[int] = Counter()

    def add(self, value: int) -> None:
        """Count a number."""
        self.count += 1
        self.sum += value
        self.largest = max(self.largest, value)
        self._counts[value] += 1
        if len(self._counts) > _MOST_DIFFERENT:
            rounded: Counter[int] = Counter()
            for key, count in self._counts.items():
                rounded[rounded_to_digits(key, _DIGITS)] += count
            self._counts = rounded

    @property
    def mean(self) -> float:
        """The average; of nothing, 0."""
        return self.sum / self.count if self.count else 0.0

    def percentiles(self, *percentiles: float) -> list[int]:
        """By nearest rank: the smallest number that at least that share does not exceed. Of nothing, 0."""
        counts = self.items()
        return [value_at_rank(counts, rank_at(percentile, self.count)) for percentile in percentiles]

    def items(self) -> list[tuple[int, int]]:
        """(number, how often), from the least number up."""
        return sorted(self._counts.items())
