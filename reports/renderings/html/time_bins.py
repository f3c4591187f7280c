"""Numbers over the time of a run, in bins that grow with it: memory does not."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from ...statistics.coarsen import in_pairs
from ...statistics.log_buckets import buckets_of, quantile_us


class ValueBins:
    """Counts of values in microseconds by bin, to half a percent; the largest of each bin is kept exactly."""

    __slots__ = ("_bins", "_largest_us")

    def __init__(self) -> None:
        self._bins: list[Counter[int]] = []
        self._largest_us: list[int] = []

    def add(self, index: int, values_us: Sequence[int]) -> None:
        """Count values that belong into a bin; at least one."""
        self._extend(index + 1)
        self._bins[index].update(buckets_of(values_us))
        self._largest_us[index] = max(self._largest_us[index], max(values_us))

    def add_all(self, other: ValueBins) -> None:
        """Count another's values too; its bins are as long."""
        self._extend(len(other._bins))
        for index, (counts, largest_us) in enumerate(zip(other._bins, other._largest_us, strict=True)):
            self._bins[index].update(counts)
            self._largest_us[index] = max(self._largest_us[index], largest_us)

    def coarsen(self) -> None:
        """Bins of twice the length."""
        self._bins = in_pairs(self._bins, operator.add)
        self._largest_us = in_pairs(self._largest_us, max)

    def counts(self, num_bins: int) -> list[int]:
        """How many values each bin has."""
        return [self._bins[at].total() if at < len(self._bins) else 0 for at in range(num_bins)]

    def quantile_us(self, share: float, num_bins: int) -> list[int | None]:
        """By nearest rank, to half a percent; None where there is nothing."""
        return [self._quantile_us(at, share) for at in range(num_bins)]

    def largest_us(self, num_bins: int) -> list[int | None]:
        """The largest value of each bin; None where there is nothing."""
        return [self._largest_us[at] if at < len(self._bins) and self._bins[at] else None for at in range(num_bins)]

    def _quantile_us(self, at: int, share: float) -> int | None:
        if at >= len(self._bins) or not self._bins[at]:
            return None
        return min(round(quantile_us(self._bins[at], share)), self._largest_us[at])

    def _extend(self, length: int) -> None:
        while len(self._bins) < length:
            self._bins.append(Counter())
            self._largest_us.append(0)


@dataclass(slots=True)
class _Flow:
    """What began and ended in a bin: how often, and the sum of the times at which it did."""

    began: int = 0
    began_sum_s: float = 0.0
    ended: int = 0
    ended_sum_s: float = 0.0

    def __add__(self, other: _Flow) -> _Flow:
        return _Flow(
            self.began + other.began,
            self.began_sum_s + other.began_sum_s,
            self.ended + other.ended,
            self.ended_sum_s + other.ended_sum_s,
        )


@dataclass(slots=True)
class PresenceBins:
    """How many of something there were, on average over each bin. Takes the same time however long each stays."""

    _flows: list[_Flow] = field(default_factory=list)

    def begin(self, index: int, at_s: float) -> None:
        """One more from now on."""
        flow = self._flow(index)
        flow.began += 1
        flow.began_sum_s += at_s

    def end(self, index: int, at_s: float) -> None:
        """One less from now on."""
        flow = self._flow(index)
        flow.ended += 1
        flow.ended_sum_s += at_s

    def coarsen(self) -> None:
        """Bins of twice the length."""
        self._flows = in_pairs(self._flows, operator.add)

    def means(self, num_bins: int, bin_s: float) -> list[float]:
        """The mean number in each bin."""
        found, present = [], 0
        for at in range(num_bins):
            flow = self._flows[at] if at < len(self._flows) else _Flow()
            end_s = (at + 1) * bin_s
            since_s = flow.began * end_s - flow.began_sum_s - (flow.ended * end_s - flow.ended_sum_s)
            found.append(round(max(0.0, present + since_s / bin_s), 2))
            present += flow.began - flow.ended
        return found

    def _flow(self, index: int) -> _Flow:
        while len(self._flows) <= index:
            self._flows.append(_Flow())
        return self._flows[index]
