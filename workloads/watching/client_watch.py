"""How far the load generator itself can be trusted: what delayed its own process during the run."""

from __future__ import annotations

import asyncio
import gc
import heapq
import math
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from ...engine.integers import rounded_to_digits

_BEAT_S = 0.01
_LAPSE_S = 0.005
"""A beat later than this is kept with its time, to compare with apparent stalls of the server."""
_MOST_LAPSES = 1000
_DIGITS = 3
"""Of a beat in microseconds: this bounds how many different values there are."""


class Lapse(msgspec.Struct, frozen=True, order=True, array_like=True):
    """The client's event loop was blocked: nothing was read or sent. Times are seconds since the run began."""

    length_s: float
    start_s: float


class ClientAudit(msgspec.Struct, kw_only=True):
    """What the client's process did over the measured part.

    Attributes:
        beats_us: How late the event loop woke, every 10 ms: the count of each value. Beats that became due while the
            loop was blocked count too.
        lapses: The longest beats above 5 ms, longest first.
        gc_pauses: Garbage collections, `gc_total_s` and `gc_longest_s` their time.
        cpu_s: Processor time used during `elapsed_s`.
    """

    beats_us: dict[int, int] = {}
    lapses: list[Lapse] = []
    gc_pauses: int = 0
    gc_total_s: float = 0.0
    gc_longest_s: float = 0.0
    cpu_s: float = 0.0
    elapsed_s: float = 0.0


def merge_audits(audits: list[ClientAudit]) -> ClientAudit:
    """Merge the audits of several processes: beats add up, and the busiest process gives the processor time."""
    beats: Counter[int] = Counter()
    for audit in audits:
        beats.update(audit.beats_us)
    busiest = max(audits, key=lambda audit: audit.cpu_s / max(audit.elapsed_s, 1e-9))
    return ClientAudit(
        beats_us=dict(beats),
        lapses=heapq.nlargest(_MOST_LAPSES, [lapse for audit in audits for lapse in audit.lapses]),
        gc_pauses=sum(audit.gc_pauses for audit in audits),
        gc_total_s=max(audit.gc_total_s for audit in audits),
        gc_longest_s=max(audit.gc_longest_s for audit in audits),
        cpu_s=busiest.cpu_s,
        elapsed_s=busiest.elapsed_s,
    )


class ClientWatch:
    """Watches this process: `run` it as a task beside the load, `audit` when that is over."""

    def __init__(self) -> None:
        self._beats: Counter[int] = Counter()
        self._lapses: list[Lapse] = []
        self._gc_pauses = 0
        self._gc_total_s = self._gc_longest_s = 0.0
        self._gc_began_s: float | None = None
        self._began: tuple[float, float] | None = None
        """Clock and processor time when the watch began."""
        self._ended: tuple[float, float] | None = None

    async def run(self, start_s: float, end_s: float | None, origin_s: float) -> None:
        """Watch from `start_s` to `end_s`, seconds since `origin_s` of the loop's clock. None: until cancelled."""
        loop = asyncio.get_running_loop()
        due_s = max(origin_s + start_s, loop.time())
        until_s = math.inf if end_s is None else origin_s + end_s
        await asyncio.sleep(due_s - loop.time())
        with self._counting_collections():
            self._began = time.monotonic(), time.process_time()
            try:
                while due_s < until_s:
                    await asyncio.sleep(max(0.0, due_s - loop.time()))
                    due_s = self._beat(due_s, until_s, origin_s)
            finally:
                self._beat(due_s, until_s, origin_s)  # a run may end while the loop is blocked
                self._ended = time.monotonic(), time.process_time()

    def audit(self) -> ClientAudit:
        """What was seen."""
        if self._began is None:
            return ClientAudit()
        began = self._began
        ended = self._ended or (time.monotonic(), time.process_time())
        return ClientAudit(
            beats_us=dict(self._beats),
            lapses=sorted(self._lapses, reverse=True),
            gc_pauses=self._gc_pauses,
            gc_total_s=self._gc_total_s,
            gc_longest_s=self._gc_longest_s,
            cpu_s=ended[1] - began[1],
            elapsed_s=ended[0] - began[0],
        )

    def _beat(self, due_s: float, until_s: float, origin_s: float) -> float:
        """Count the beats that are due by now, from `due_s` on. Returns when the next one is due."""
        now_s = asyncio.get_running_loop().time()
        if due_s < until_s and now_s - due_s > _LAPSE_S:
            lapse = Lapse(round(now_s - due_s, 6), round(due_s - origin_s, 6))
            if len(self._lapses) < _MOST_LAPSES:
                heapq.heappush(self._lapses, lapse)
            else:
                heapq.heappushpop(self._lapses, lapse)
        # A lapse of a second is a hundred late beats: every request due within it waited, not only the first.
        while due_s <= now_s and due_s < until_s:
            self._beats[rounded_to_digits(max(0, round((now_s - due_s) * 1e6)), _DIGITS)] += 1
            due_s += _BEAT_S
        return due_s

    @contextmanager
    def _counting_collections(self) -> Iterator[None]:
        gc.callbacks.append(self._on_collection)
        try:
            yield
        finally:
            gc.callbacks.remove(self._on_collection)

    def _on_collection(self, phase: str, _: dict[str, Any]) -> None:
        if phase == "start":
            self._gc_began_s = time.perf_counter()
        elif self._gc_began_s is not None:
            pause_s = time.perf_counter() - self._gc_began_s
            self._gc_pauses += 1
            self._gc_total_s += pause_s
            self._gc_longest_s = max(self._gc_longest_s, pause_s)
