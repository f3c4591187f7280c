"""The places of --max-in-flight: so many requests at once, and no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .targets.target import Reply


class Places:
    """Places for requests, taken in the order in which they were asked for. Without a limit there is always one."""

    def __init__(self, limit: int | None) -> None:
        self._free = None if limit is None else asyncio.Semaphore(limit)

    @asynccontextmanager
    async def one(self, reply: Reply) -> AsyncIterator[None]:
        """Hold a place until the context is left. The reply is told how long the request waited for it."""
        if self._free is None:
            yield
            return
        clock = asyncio.get_running_loop().time
        asked_s = clock()
        try:
            await self._free.acquire()
        finally:
            reply.waited_s = clock() - asked_s
        try:
            yield
        finally:
            self._free.release()
