"""When sessions arrive: how many over time, and how bursty."""

from __future__ import annotations

import math
from collections import Counter

from ...engine.integers import ceil_div
from ..statistics.coarsen import coarser

_LADDER = (1, 2, 10, 20, 100, 200, 600, 1200, 6000, 12_000, 36_000, 72_000, 216_000, 432_000, 864_000)
"""Widths of bins in tenths of a second, each a multiple of the one before; beyond a day they double."""
_MOST_BINS = 512
_FEWEST_SECONDS = 10
"""The shortest time for which an index of dispersion is meaningful."""


class ArrivalCounts:
    """Counts starts in time. Memory does not grow with their number, nor with the time they take.

    Times must not go back; one that does counts as now, for that is when a replay would start it.
    """

    def __init__(self) -> None:
        self.count = 0
        self.latest_s = 0.0
        self._width = 1
        self._bins: Counter[int] = Counter()
        self._second, self._in_second = 0, 0
        self._squares = 0
        self._num_times = 0

    def add(self, start_s: float) -> None:
        """Count a start."""
        if start_s > self.latest_s or not self.count:
            self._num_times += 1
            self.latest_s = max(start_s, 0.0)
        self.count += 1
        second = int(self.latest_s)
        if second > self._second:
            self._squares += self._in_second**2
            self._second, self._in_second = second, 0
        self._in_second += 1
        tenths = int(self.latest_s * 10)
        while tenths // self._width >= _MOST_BINS:
            self._widen()
        self._bins[tenths // self._width] += 1

    def _widen(self) -> None:
        width = next((width for width in _LADDER if width > self._width), 2 * self._width)
        self._bins, self._width = coarser(self._bins, width // self._width), width

    def dispersion(self, length_s: float) -> float | None:
        """Index of dispersion (variance over mean) of the counts in seconds; None of too short a time.

        Independent arrivals have 1, evenly spaced ones less, bursts more.
        """
        num_seconds = max(math.ceil(length_s), self._second + 1)
        if num_seconds < _FEWEST_SECONDS or not self.count:
            return None
        mean = self.count / num_seconds
        return ((self._squares + self._in_second**2) / num_seconds - mean**2) / mean

    @property
    def tick_s(self) -> float | None:
        """The mean time between starts that differ, if that is above a second and many are equal: a coarse clock."""
        tick_s = self.latest_s / max(self._num_times - 1, 1)
        return tick_s if tick_s > 1 and 4 * self._num_times <= self.count else None

    def columns(self, length_s: float, most: int) -> tuple[list[int], float]:
        """Counts in at most `most` equal parts of the time from 0, and the length of a part in seconds."""
        num_bins = max(math.ceil(length_s * 10 / self._width - 1e-6), max(self._bins, default=0) + 1)
        per_column = ceil_div(num_bins, most)
        counts = [0] * ceil_div(num_bins, per_column)
        for index, count in self._bins.items():
            counts[index // per_column] += count
        return counts, per_column * self._width / 10
