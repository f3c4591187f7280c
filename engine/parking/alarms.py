"""When parked sessions are to be looked at again."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import count

from ..session import EngineSession


class Alarms:
    """One alarm a session at most: setting another, or clearing `wakes_s`, makes the earlier one void."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, EngineSession]] = []
        self._numbers = count()

    def set(self, session: EngineSession, at_s: float) -> None:
        """Wake the session then."""
        session.wakes_s = at_s
        heapq.heappush(self._heap, (at_s, next(self._numbers), session))

    def due(self, now_s: float) -> Iterator[EngineSession]:
        """Sessions whose alarm goes off now or earlier, each once."""
        while (at_s := self.next_s()) is not None and at_s <= now_s:
            _, _, session = heapq.heappop(self._heap)
            session.wakes_s = None
            yield session

    def next_s(self) -> float | None:
        """When the next goes off; None if none is set."""
        heap = self._heap
        while heap and heap[0][2].wakes_s != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None
