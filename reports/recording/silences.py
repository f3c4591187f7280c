"""When nobody received anything although requests were in flight.

A closed loop sends nothing while the server is frozen: of 12 s in which nothing happened, each of its sessions has one
slow request. Percentiles of requests do not show that, and time does.
"""

from __future__ import annotations

import operator
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain

from ...workloads.result import Result
from ..statistics.coarsen import in_pairs

_MOST_BINS = 16_384
_FIRST_BIN_S = 0.01
_FILLED_US = 100_000
"""Gaps of a stream up to this long are no silence: filling them at once is cheaper than looking at each token."""


@dataclass(frozen=True, slots=True)
class Silence:
    """A stretch of a run without a receipt. Seconds since the run began.

    Attributes:
        in_flight: Requests that were waiting or streaming, at most at once.
        crowded_s: How long there were two or more of them: one alone is silent while its prompt is computed.
        is_last: Nothing was received after it either.
    """

    start_s: float
    length_s: float
    in_flight: int
    crowded_s: float = 0.0
    is_last: bool = False


class Receipts:
    """Marks when something was received, and when requests were in flight. At most 16,384 bins: they grow with the run.

    Of several processes, silence is what all of them saw.
    """

    __slots__ = ("_bin_s", "_changes", "_received", "cut_streams", "cut_waiting")

    def __init__(self) -> None:
        self._bin_s = _FIRST_BIN_S
        self._received = bytearray()
        self._changes: array[int] = array("q")
        """By bin: requests that were sent in it, less those that ended in it."""
        self.cut_streams = 0
        """Requests that were streaming when the run ended."""
        self.cut_waiting = 0
        """Requests that had received nothing by then."""

    def add(self, result: Result) -> None:
        """Take a result into account, of the warm-up too. One that was never sent was not in flight."""
        if result.sent_s is None:
            return
        end_s = max(result.end_s, result.sent_s)
        while end_s >= _MOST_BINS * self._bin_s:
            self._coarsen()
        last = self._bin(end_s)
        if last >= len(self._received):
            grown = last + 1 - len(self._received)
            self._received.extend(bytes(grown))
            self._changes.extend(_zeros(grown))
        self._changes[self._bin(result.sent_s)] += 1
        self._changes[last] -= 1
        if result.first_s is not None:
            self._mark_stream(result.first_s, result.gaps_us)
        if result.censored:
            self.cut_streams += result.first_s is not None
            self.cut_waiting += result.first_s is None
        elif result.error is None or result.error.startswith("http_"):
            self._received[last] = 1

    def merge(self, other: Receipts) -> None:
        """Add what another process received in the same run."""
        while self._bin_s < other._bin_s:
            self._coarsen()
        ratio = round(self._bin_s / other._bin_s)
        missing = -(-len(other._received) // ratio) - len(self._received)
        if missing > 0:
            self._received.extend(bytes(missing))
            self._changes.extend(_zeros(missing))
        for index, (received, change) in enumerate(zip(other._received, other._changes, strict=True)):
            self._received[index // ratio] |= received
            self._changes[index // ratio] += change
        self.cut_streams += other.cut_streams
        self.cut_waiting += other.cut_waiting

    def silences(self) -> list[Silence]:
        """All stretches of at least one bin in which requests were in flight and none received anything, in order."""
        found: list[Silence] = []
        start, most, crowded = -1, 0, 0
        in_flight = list(accumulate(self._changes))
        for index, received in enumerate(chain(self._received, (1,))):
            waiting = in_flight[index - 1] if 0 < index <= len(in_flight) else 0
            if not received and waiting > 0:
                if start < 0:
                    start, most, crowded = index, 0, 0
                most = max(most, waiting)
                crowded += waiting > 1
            elif start >= 0:
                length_s = (index - start) * self._bin_s
                found.append(Silence(start * self._bin_s, length_s, most, crowded * self._bin_s))
                start = -1
        if found and not any(self._received[round((found[-1].start_s + found[-1].length_s) / self._bin_s) :]):
            found[-1] = replace(found[-1], is_last=True)
        return found

    def _bin(self, at_s: float) -> int:
        return int(max(0.0, at_s) / self._bin_s)

    def _mark_stream(self, first_s: float, gaps_us: Sequence[int]) -> None:
        """Mark its chunks, and the short gaps between them."""
        begins_s = at_s = first_s
        if gaps_us and max(gaps_us) > _FILLED_US:
            for gap_us in gaps_us:
                if gap_us > _FILLED_US:
                    self._fill(begins_s, at_s)
                    begins_s = at_s + gap_us / 1e6
                at_s += gap_us / 1e6
        else:
            at_s += sum(gaps_us) / 1e6
        self._fill(begins_s, at_s)

    def _fill(self, from_s: float, to_s: float) -> None:
        first, last = self._bin(from_s), min(self._bin(to_s), len(self._received) - 1)
        if last >= first:
            self._received[first : last + 1] = b"\x01" * (last + 1 - first)

    def _coarsen(self) -> None:
        self._received = bytearray(in_pairs(self._received, operator.or_))
        self._changes = array("q", in_pairs(self._changes, operator.add))
        self._bin_s *= 2


def _zeros(count: int) -> array[int]:
    return array("q", bytes(8 * count))
