"""An event loop whose clock jumps: hours of waiting pass in minutes, and every run is the same."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Mapping
from typing import Any

_POLL_EVERY = 256
"""Jumps between looks at real file descriptors; the only one is that of signals."""

_DEADLOCK_S = 1.0


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Runs until nothing is ready, then sets its clock to the next deadline instead of waiting for it.

    Its clock starts at 0 and shows no real time at all. Nothing that waits for the real world (connections, threads,
    other processes) may run on it; signals are noticed now and then.

    Raises:
        RuntimeError: from whatever is running, when it waits for something that can never happen.
    """

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now_s


class _JumpingSelector(selectors.BaseSelector):
    """Where an event loop waits. This one does not."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._real = selectors.DefaultSelector()
        self._num_jumps = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            events = self._real.select(_DEADLOCK_S)
            if not events:
                raise RuntimeError("everything on the virtual event loop waits for something that cannot happen")
            return events
        if timeout <= 0:
            return []
        self._num_jumps += 1
        if self._num_jumps % _POLL_EVERY == 0 and (events := self._real.select(0)):
            return events
        self.now_s += timeout
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()
