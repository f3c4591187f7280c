"""What came of all requests together, by time: how fast streams went, how many there were, and when nothing came."""

from __future__ import annotations

import operator
import statistics
from collections.abc import Iterator
from itertools import accumulate, pairwise

from ...workloads.result import Result
from ..statistics.coarsen import in_pairs

_MOST_BINS = 1 << 17
_FIRST_BIN_S = 0.002
_STRETCHES = 256
"""Of the run: the usual pace is that of the middle one."""
_FULL = 0.85
"""Of the most streams there were at once, but for 1% of the time: all slots are taken, as far as a client can see."""
_OFTEN = 0.05
"""Of the time: where fewer slots are taken than that, streams were never many enough to fill them."""
_MOST = 0.5
_REFUSED = frozenset({"http_429", "http_503", "queue_full"})


class Progress:
    """Adds up chunks, streams and requests in flight. Bins of 2 ms that grow with the run."""

    def __init__(self) -> None:
        self._bin_us = round(_FIRST_BIN_S * 1e6)
        self._chunks: list[int] = []
        self._streams: list[int] = []
        """Changes in their number; `_in_flight` likewise."""
        self._in_flight: list[int] = []
        self._refused_s: list[float] = []
        self._last_sent_s = 0.0

    def add(self, result: Result) -> None:
        """Count a result of any class, even a failed one."""
        if result.error in _REFUSED:
            self._refused_s.append(result.end_s)
        if result.sent_s is None:
            return
        self._last_sent_s = max(self._last_sent_s, result.sent_s)
        self._reach(result.end_s)
        _mark(self._in_flight, int(result.sent_s * 1e6) // self._bin_us, int(result.end_s * 1e6) // self._bin_us)
        if result.first_s is None:
            return
        first_us, bin_us, chunks = int(result.first_s * 1e6), self._bin_us, self._chunks
        last_us = first_us
        for last_us in accumulate(result.gaps_us, initial=first_us):
            if last_us // bin_us >= len(chunks):
                break  # a clock's rounding
            chunks[last_us // bin_us] += 1
        _mark(self._streams, first_us // bin_us, last_us // bin_us)

    def _reach(self, at_s: float) -> None:
        while at_s * 1e6 >= _MOST_BINS * self._bin_us:
            self._bin_us *= 2
            self._chunks = in_pairs(self._chunks, operator.add)
            self._streams = in_pairs(self._streams, operator.add)
            self._in_flight = in_pairs(self._in_flight, operator.add)
        missing = int(at_s * 1e6) // self._bin_us + 2 - len(self._chunks)
        for bins in (self._chunks, self._streams, self._in_flight):
            bins.extend([0] * missing)

    def sum_up(self) -> Known:
        """What there is to know, once every result was counted."""
        return Known(
            self._bin_us / 1e6,
            self._chunks,
            self._streams,
            self._in_flight,
            refused_s=self._refused_s,
            last_sent_s=self._last_sent_s,
        )


def _mark(changes: list[int], first: int, last: int) -> None:
    changes[first] += 1
    changes[min(last, len(changes) - 1)] -= 1


class Known:
    """The progress of a whole run. Times in seconds since it began."""

    def __init__(
        self,
        bin_s: float,
        chunks: list[int],
        changes: list[int],
        in_flight: list[int],
        *,
        refused_s: list[float],
        last_sent_s: float,
    ) -> None:
        self._bin_s = bin_s
        self._chunks = chunks
        self._streams = list(accumulate(changes))
        self._in_flight = list(accumulate(in_flight))
        self._refused_s = refused_s
        self._last_sent_s = last_sent_s
        self._chunks_before = list(accumulate(chunks, initial=0))
        self._streams_before = list(accumulate(self._streams, initial=0))
        at_once = sorted(number for number in self._streams if number)
        most = at_once[int(0.99 * len(at_once))] if at_once else 0
        self._usual_streams = at_once[len(at_once) // 2] if at_once else 0
        self._full_before = list(accumulate((number >= max(1, _FULL * most) for number in self._streams), initial=0))
        self.has_slots = bool(at_once) and self._full_before[-1] >= _OFTEN * len(at_once)
        self.usual_pace_s = self._usual_pace_s()

    def _bins(self, start_s: float, end_s: float) -> tuple[int, int]:
        last = len(self._chunks)
        return min(last, max(0, round(start_s / self._bin_s))), min(last, max(0, round(end_s / self._bin_s)))

    def pace_s(self, start_s: float, end_s: float) -> float | None:
        """Seconds of streaming for a chunk, over an interval; None if there was too little to tell."""
        first, last = self._bins(start_s, end_s)
        chunks = self._chunks_before[last] - self._chunks_before[first]
        streaming_s = (self._streams_before[last] - self._streams_before[first]) * self._bin_s
        if streaming_s < 2 * (end_s - start_s):
            return None  # fewer than two streams
        return streaming_s / max(chunks, 1)

    def slowness(self, start_s: float, end_s: float) -> float:
        """How many times slower than usual streams were over an interval; 1 where nobody can tell."""
        pace_s = self.pace_s(start_s, end_s)
        return 1.0 if pace_s is None or not self.usual_pace_s else pace_s / self.usual_pace_s

    def full_share(self, start_s: float, end_s: float) -> float:
        """Share of an interval with as many streams as there ever are."""
        first, last = self._bins(start_s, end_s)
        return (self._full_before[last] - self._full_before[first]) / max(last - first, 1)

    def num_refused(self, start_s: float, end_s: float) -> int:
        """Requests that were refused meanwhile."""
        return sum(1 for at_s in self._refused_s if start_s <= at_s <= end_s)

    def is_left_over(self, at_s: float) -> bool:
        """Whether nobody was sent any more, and most streams had ended: of those few each may have its own reason."""
        first, _ = self._bins(at_s, at_s)
        return (
            at_s > self._last_sent_s and self._streams[min(first, len(self._streams) - 1)] < _MOST * self._usual_streams
        )

    def silences(self, least_s: float) -> Iterator[tuple[float, float, int]]:
        """(start, end, streams) of the times of at least this length in which nothing came, with three in flight.

        Of the requests that are left at the end of a run, each may have its own reason: those times do not count.
        """
        start: int | None = None
        most = 0
        for index, (chunks, in_flight) in enumerate(zip(self._chunks, self._in_flight, strict=True)):
            if index * self._bin_s > self._last_sent_s:
                return
            if not chunks and in_flight:
                start = index if start is None else start
                most = max(most, in_flight)
                continue
            if start is not None and (index - start) * self._bin_s >= least_s and most >= _LEAST_IN_FLIGHT:
                yield start * self._bin_s, index * self._bin_s, self._streams[start]
            start, most = None, 0

    def _usual_pace_s(self) -> float:
        length_s = len(self._chunks) * self._bin_s
        edges = [length_s * index / _STRETCHES for index in range(_STRETCHES + 1)]
        paces = [self.pace_s(start_s, end_s) for start_s, end_s in pairwise(edges)]
        known = [pace_s for pace_s in paces if pace_s is not None]
        return statistics.median(known) if known else 0.0


_LEAST_IN_FLIGHT = 3
"""With fewer requests in flight, silence may be one prompt's own."""
