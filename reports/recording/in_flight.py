"""Requests in flight over the time of a run, and the part of it in which their number is steady."""

from __future__ import annotations

import operator
import statistics

import msgspec

from ...workloads.bounds import Amount
from ...workloads.result import Result
from ..statistics.coarsen import in_pairs, in_parts

_MOST_BINS = 256
_FIRST_BIN_S = 0.05
_UP_SHARE = 0.9
"""Of the median: from here on the start-up is over."""
_HALF_UP_SHARE = 0.5
"""Of the median: from here on growth counts. At 90% of the median of what grows, half of the growth is over."""
_GROWTH = 1.5
"""Of the second half over the first: more is not a steady state, if each quarter was also above the one before."""
_LEAST_GROWTH = 4.0
"""Requests: a growth from two to four is luck."""
_LEAST_BINS = 8


class SteadyState(msgspec.Struct, kw_only=True):
    """The part of a run in which the number of requests in flight was steady, by rule.

    It begins when the number in flight has first come up to 90% of its median over the time of sending, and ends with
    the sending.

    Attributes:
        from_s: Seconds since the run began; `to_s` likewise.
        first_half: Mean number in flight from when it had come up to half its median, in the first half of the rest;
            `second_half` likewise.
        is_steady: It did not grow from quarter to quarter, by half or more from the first half to the second.
    """

    from_s: Amount
    to_s: Amount
    first_half: Amount
    second_half: Amount
    is_steady: bool


class InFlight:
    """Adds up for how long requests were in flight, by time. At most 256 bins: they grow with the run."""

    __slots__ = ("_bin_s", "_bins")

    def __init__(self) -> None:
        self._bin_s = _FIRST_BIN_S
        self._bins: list[float] = []

    def add(self, result: Result) -> None:
        """Count a request from when it was due: one that waits for a slot is in flight for its user."""
        self._add(max(0.0, result.due_s), max(0.0, result.end_s))

    def merge(self, other: InFlight) -> None:
        """Add another process's."""
        while self._bin_s < other._bin_s:
            self._coarsen()
        ratio = round(self._bin_s / other._bin_s)
        self._extend((len(other._bins) - 1) // ratio)
        for index, busy_s in enumerate(other._bins):
            self._bins[index // ratio] += busy_s

    def steady_state(self, sending_s: float) -> SteadyState | None:
        """The steady part of a run that sent for this long; None if it was too short to have one."""
        bins = [busy_s / self._bin_s for busy_s in self._bins[: max(1, round(sending_s / self._bin_s))]]
        if len(bins) < _LEAST_BINS:
            return None
        half_up, up = (_first_at(bins, share) for share in (_HALF_UP_SHARE, _UP_SHARE))
        rest = bins[half_up:]
        quarters = [statistics.fmean(part) for part in in_parts(rest, 4)]
        before, after = (quarters[0] + quarters[1]) / 2, (quarters[2] + quarters[3]) / 2
        has_grown = quarters == sorted(quarters) and after > max(_GROWTH * before, before + _LEAST_GROWTH)
        return SteadyState(
            from_s=round(up * self._bin_s, 3),
            to_s=round(min(sending_s, len(bins) * self._bin_s), 3),
            first_half=round(before, 2),
            second_half=round(after, 2),
            is_steady=not has_grown,
        )

    def _add(self, start_s: float, end_s: float) -> None:
        while end_s >= _MOST_BINS * self._bin_s:
            self._coarsen()
        first, last = int(start_s / self._bin_s), int(end_s / self._bin_s)
        self._extend(last)
        for index in range(first, last + 1):
            begins_s = index * self._bin_s
            self._bins[index] += min(end_s, begins_s + self._bin_s) - max(start_s, begins_s)

    def _extend(self, last: int) -> None:
        self._bins += [0.0] * (last + 1 - len(self._bins))

    def _coarsen(self) -> None:
        self._bins = in_pairs(self._bins, operator.add)
        self._bin_s *= 2


def _first_at(bins: list[float], share: float) -> int:
    """The first bin that reaches this share of the median, early enough that some follow it."""
    median = statistics.median(bins)
    first = next((index for index, value in enumerate(bins) if value >= share * median), 0)
    return min(first, len(bins) - _LEAST_BINS // 2)
