"""Numbers counted rather than kept: percentiles of any number of them in bounded memory."""

from __future__ import annotations

from collections import Counter

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
                rounded[_rounded(key)] += count
            self._counts = rounded

    @property
    def mean(self) -> float:
        """The average; of nothing, 0."""
        return self.sum / self.count if self.count else 0.0

    def percentiles(self, *percentiles: float) -> list[int]:
        """By nearest rank: the least number that at least that share is no larger than. Of nothing, 0."""
        counts = self.items()
        return [_nearest_rank(counts, percentile / 100 * self.count) for percentile in percentiles]

    def items(self) -> list[tuple[int, int]]:
        """(number, how often), from the least number up."""
        return sorted(self._counts.items())


def _nearest_rank(counts: list[tuple[int, int]], rank: float) -> int:
    seen = 0
    for number, count in counts:
        seen += count
        if seen >= rank - 1e-9:  # 0.55 * 100 is a little more than 55
            return number
    return 0


def _rounded(value: int) -> int:
    unit: int = 10 ** max(0, len(str(value)) - _DIGITS)
    return (value + unit // 2) // unit * unit
