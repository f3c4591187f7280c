"""HDR histograms by metric and traffic class, made where there is enough to fill them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from hdrh.histogram import HdrHistogram

LOWEST_US, HIGHEST_US, SIGNIFICANT_DIGITS = 1, 3_600_000_000, 3
"""Every histogram: microseconds, 1 us to 1 h, 3 significant digits. Equal settings merge without loss."""
_MOST_PENDING = 4096
"""Different values of one kind that are counted before they go into their histogram."""
_MOST_WITHOUT = 32
"""Different values that need no histogram of their own: it takes 190 kB, and what has so few is made again in less time
than a full one takes to be added up. Progress is shown twice a second, from the loop that sends."""

Key = tuple[str, str]
"""Metric and class."""


def new_histogram() -> HdrHistogram:
    """An empty histogram with the settings all of ours have."""
    return HdrHistogram(LOWEST_US, HIGHEST_US, SIGNIFICANT_DIGITS)


class Histograms:
    """Values are counted first and put into the histograms many at a time.

    The histograms are pure Python and take microseconds a value, which at a thousand streams would be the generator's
    own delay; and most metrics of most classes have few values.
    """

    def __init__(self) -> None:
        self._pending: dict[Key, Counter[int]] = {}
        self._full: dict[Key, HdrHistogram] = {}
        """Of those that have had many values."""

    def __iter__(self) -> Iterator[Key]:
        return iter(self._pending)

    def __contains__(self, key: Key) -> bool:
        return key in self._pending

    def add(self, key: Key, values_us: Sequence[int]) -> None:
        """Count values."""
        pending = self._pending.get(key)
        if pending is None:
            pending = self._pending[key] = Counter()
        pending.update(values_us)
        if len(pending) > _MOST_PENDING:
            self.of(key)

    def of(self, key: Key) -> HdrHistogram:
        """The histogram of a metric and class, with all that was counted in it. To be read only.

        Raises:
            KeyError: nothing was counted of it.
        """
        pending = self._pending[key]
        histogram = self._full.get(key)
        if histogram is None:
            histogram = new_histogram()
            if len(pending) <= _MOST_WITHOUT:
                return _filled(histogram, pending)
            self._full[key] = histogram
        _filled(histogram, pending)
        pending.clear()
        return histogram

    def of_all(self, metric: str) -> HdrHistogram | None:
        """Of all classes of a metric together; None if nothing was counted of it. To be read only."""
        keys = [key for key in self if key[0] == metric]
        if len(keys) < 2:
            return self.of(keys[0]) if keys else None
        total = new_histogram()
        for key in keys:
            if key in self._full or len(self._pending[key]) > _MOST_WITHOUT:
                total.add(self.of(key))
            else:
                _filled(total, self._pending[key])
        return total

    def merge(self, other: Histograms) -> None:
        """Add what another process counted."""
        for key, pending in other._pending.items():
            if (full := other._full.get(key)) is not None:
                self._full.setdefault(key, new_histogram()).add(full)
            self.add(key, ())
            self._pending[key].update(pending)

    def __getstate__(self) -> dict[str, Any]:
        """For another process: full ones in their own encoding, which is exact."""
        return {"pending": self._pending, "full": {key: one.encode() for key, one in self._full.items()}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._pending = state["pending"]
        self._full = {key: HdrHistogram.decode(encoded) for key, encoded in state["full"].items()}


def _filled(histogram: HdrHistogram, counts: Counter[int]) -> HdrHistogram:
    for value_us, count in counts.items():
        histogram.record_value(min(max(value_us, LOWEST_US), HIGHEST_US), count)
    return histogram
