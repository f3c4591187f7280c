"""What lies between a server's socket and the client: when a chunk that was written is read."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from abatch.workloads.targets.target import Reply

_CHUNKS_A_READ = 7
"""Events of one token that fit into a segment: they are read together and are one arrival."""
_READ_S = 1e-4
"""Between two reads of what came at once."""


class Link(Protocol):
    """Decides when chunks arrive. They never overtake each other."""

    def up_s(self, at_s: float) -> float:
        """When a request that is sent then reaches the server."""
        return at_s

    def down_s(self, number: int, at_s: float, random: Random) -> float:
        """When a chunk of request `number`, written then, may be read at the earliest."""
        return at_s


@dataclass(frozen=True, slots=True)
class Wire(Link):
    """Takes no time that matters."""


@dataclass(frozen=True, slots=True)
class Outages(Link):
    """Nothing passes in either direction meanwhile; nothing is lost. `times`: (start, length) in seconds."""

    times: tuple[tuple[float, float], ...]

    def up_s(self, at_s: float) -> float:
        return next((start + length for start, length in self.times if start <= at_s < start + length), at_s)

    def down_s(self, number: int, at_s: float, random: Random) -> float:
        return self.up_s(at_s)


@dataclass(frozen=True, slots=True)
class Lossy(Link):
    """One connection in `every` loses a share of its segments, each sent again after `timeout_s`, then twice that."""

    every: int
    share: float
    timeout_s: float = 0.22

    def down_s(self, number: int, at_s: float, random: Random) -> float:
        timeout_s = self.timeout_s
        while number % self.every == 0 and random.random() < self.share:
            at_s, timeout_s = at_s + timeout_s, 2 * timeout_s
        return at_s


@dataclass(frozen=True, slots=True)
class Flushing(Link):
    """A proxy that writes what it has collected of a connection every so often, and at the end of the answer."""

    every_s: float

    def down_s(self, number: int, at_s: float, random: Random) -> float:
        phase_s = number * 0.618 * self.every_s % self.every_s
        return phase_s + math.ceil((at_s - phase_s) / self.every_s) * self.every_s


@dataclass(slots=True)
class Delivery:
    """One answer on its way: what has been written, and when it is read."""

    link: Link
    number: int
    reply: Reply
    random: Random
    ended: asyncio.Future[None]
    _due: deque[float] = field(default_factory=deque)
    _is_complete: bool = False
    _last_s: float = 0.0

    def write(self, *, is_last: bool) -> None:
        """A chunk of one token, now."""
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        self._last_s = max(self._last_s, self.link.down_s(self.number, now_s, self.random))
        self._due.append(self._last_s)
        if is_last and isinstance(self.link, Flushing):
            self._due = deque(now_s for _ in self._due)
        self._is_complete = is_last
        loop.call_at(self._due[-1], self._read)

    def _read(self) -> None:
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        ready = 0
        while ready < len(self._due) and ready < _CHUNKS_A_READ and self._due[ready] <= now_s + 1e-9:
            ready += 1
        if not ready:
            return
        for _ in range(ready):
            self._due.popleft()
        self.reply.saw_content(now_s)
        if self._due and self._due[0] <= now_s + 1e-9:
            loop.call_at(now_s + _READ_S, self._read)
        elif self._is_complete and not self._due and not self.ended.done():
            self.reply.finished_s = now_s
            self.ended.set_result(None)
