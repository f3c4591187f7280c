"""Whether this process read an answer late: what arrived meanwhile is then found all at once."""

from __future__ import annotations

import asyncio
from types import TracebackType
from weakref import WeakKeyDictionary

PERIOD_S = 0.005
"""Of the beats: 200 a second cost a thousandth of a processor."""
_LATE_S = 0.005


class Pulse:
    """Beats in an event loop while an answer is awaited or read there, and notes when a beat came late.

    Attributes:
        num_requests: Requests under way.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.num_requests = 0
        self._timer: asyncio.TimerHandle | None = None
        self._late_until_s = float("-inf")

    def __enter__(self) -> Pulse:
        self.num_requests += 1
        if self._timer is None:
            self._schedule()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.num_requests -= 1
        if not self.num_requests and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def was_late(self, now_s: float) -> bool:
        """Whether what is read now may have waited for this process: it got going again within the last beat."""
        return now_s - self._late_until_s <= PERIOD_S

    def _schedule(self) -> None:
        due_s = self._loop.time() + PERIOD_S
        self._timer = self._loop.call_at(due_s, self._beat, due_s)

    def _beat(self, due_s: float) -> None:
        now_s = self._loop.time()
        if now_s - due_s > _LATE_S:
            self._late_until_s = now_s
        self._schedule()


_pulses: WeakKeyDictionary[asyncio.AbstractEventLoop, Pulse] = WeakKeyDictionary()


def pulse_of(loop: asyncio.AbstractEventLoop) -> Pulse:
    """The one pulse of a loop."""
    if (pulse := _pulses.get(loop)) is None:
        pulse = _pulses[loop] = Pulse(loop)
    return pulse
