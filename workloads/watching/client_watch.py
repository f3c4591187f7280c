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
from typing import Any, NamedTuple

from ...engine.integers import rounded_to_digits
from .client_audit import MOST_LAPSES, ClientAudit, Lapse
from .run_queue import waited_for_processor_s

_BEAT_S = 0.01
_LAPSE_S = 0.005
"""A beat later than this is kept with its time, to compare with apparent stalls of the server."""
_DIGITS = 3
"""Of a beat in microseconds: this bounds how many different values there are."""


class _Times(NamedTuple):
    """The clock, the process's time on processors, and the time that this thread has waited for one."""

    at_s: float
    cpu_s: float
    waited_s: float | None


def _times() -> _Times:
    return _Times(time.monotonic(), time.process_time(), waited_for_processor_s())


class ClientWatch:
    """Watches this process: `run` it as a task beside the load, `audit` when that is over."""

    def __init__(self) -> None:
        self._beats: Counter[int] = Counter()
        self._lapses: list[Lapse] = []
        self._gc_pauses = 0
        self._gc_total_s = self._gc_longest_s = 0.0
        self._gc_began_s: float | None = None
        self._began: _Times | None = None
        self._ended: _Times | None = None

    async def run(self, start_s: float, end_s: float | None, origin_s: float) -> None:
        """Watch from `start_s` to `end_s`, seconds since `origin_s` of the loop's clock. None: until cancelled."""
        loop = asyncio.get_running_loop()
        due_s = max(origin_s + start_s, loop.time())
        until_s = math.inf if end_s is None else origin_s + end_s
        await asyncio.sleep(due_s - loop.time())
        with self._counting_collections():
            self._began = _times()
            try:
                while due_s < until_s:
                    await asyncio.sleep(max(0.0, due_s - loop.time()))
                    due_s = self._beat(due_s, until_s, origin_s)
            finally:
                self._beat(due_s, until_s, origin_s)  # a run may end while the loop is blocked
                self._ended = _times()

    def audit(self) -> ClientAudit:
        """What was seen."""
        if self._began is None:
            return ClientAudit()
        began = self._began
        ended = self._ended or _times()
        return ClientAudit(
            beats_us=dict(self._beats),
            lapses=sorted(self._lapses, reverse=True),
            gc_pauses=self._gc_pauses,
            gc_total_s=self._gc_total_s,
            gc_longest_s=self._gc_longest_s,
            cpu_s=ended.cpu_s - began.cpu_s,
            elapsed_s=ended.at_s - began.at_s,
            waited_s=None if ended.waited_s is None or began.waited_s is None else ended.waited_s - began.waited_s,
        )

    def _beat(self, due_s: float, until_s: float, origin_s: float) -> float:
        """Count the beats that are due by now, from `due_s` on. Returns when the next one is due."""
        now_s = asyncio.get_running_loop().time()
        if due_s < until_s and now_s - due_s > _LAPSE_S:
            lapse = Lapse(round(now_s - due_s, 6), round(due_s - origin_s, 6))
            if len(self._lapses) < MOST_LAPSES:
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
