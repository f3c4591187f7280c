"""What stands before the workers and holds requests up, or sends them away."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from random import Random
from typing import Protocol


class Gateway(Protocol):
    """See the classes below."""

    async def enter(self, random: Random) -> bool:
        """Whether the request may pass, once it may."""
        return True


@dataclass(slots=True)
class _Bucket:
    """Permits that come at a rate, and are kept up to a number."""

    per_s: float
    most: float
    held: float = field(init=False)
    filled_s: float = 0.0

    def __post_init__(self) -> None:
        self.held = self.most

    def fill(self) -> None:
        now_s = asyncio.get_running_loop().time()
        self.held = min(self.most, self.held + (now_s - self.filled_s) * self.per_s)
        self.filled_s = now_s

    def take(self) -> bool:
        """A permit, if there is one."""
        self.fill()
        has_one = self.held >= 1
        self.held -= has_one
        return has_one


@dataclass(slots=True)
class Open(Gateway):
    """None at all."""


class Throttle(Gateway):
    """So many requests per second pass, in order; the others wait in line, and are refused where that is too long."""

    def __init__(self, per_s: float, most: float, patience_s: float) -> None:
        self._bucket = _Bucket(per_s, most)
        self._patience_s = patience_s

    async def enter(self, random: Random) -> bool:
        self._bucket.fill()
        wait_s = max(0.0, (1 - self._bucket.held) / self._bucket.per_s)
        if wait_s > self._patience_s:
            return False
        self._bucket.held -= 1
        await asyncio.sleep(wait_s)
        return True


class Retrying(Gateway):
    """Its provider refuses what exceeds a rate; it tries again after a pause, each twice as long, and then gives up."""

    def __init__(self, per_s: float, most: float, first_s: float, tries: int) -> None:
        self._bucket = _Bucket(per_s, most)
        self._first_s, self._tries = first_s, tries

    async def enter(self, random: Random) -> bool:
        for attempt in range(self._tries):
            if self._bucket.take():
                return True
            if attempt < self._tries - 1:
                await asyncio.sleep(self._first_s * 2**attempt * random.uniform(0.5, 1.5))
        return False
