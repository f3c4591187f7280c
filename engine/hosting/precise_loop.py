"""An event loop with timers precise to microseconds instead of milliseconds."""

from __future__ import annotations

import asyncio
import select
import selectors


class _PreciseSelector(selectors.EpollSelector):
    """Waits to the microsecond. epoll's own timeout is in whole milliseconds, and rounded up."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout > 0:
            # An epoll instance is itself a file that is readable when something in it is ready. Its number is small,
            # whatever the number of connections: it is opened before any of them.
            select.select([self.fileno()], [], [], timeout)
            timeout = 0
        return super().select(timeout)


def new_precise_loop() -> asyncio.AbstractEventLoop:
    """A loop with such timers where the system has epoll, else the usual one."""
    if not hasattr(selectors, "EpollSelector"):
        return asyncio.new_event_loop()
    return asyncio.SelectorEventLoop(_PreciseSelector())
