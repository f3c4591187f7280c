"""Where the engine's time comes from."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Seconds that never run backwards."""

    def time(self) -> float:
        """Now."""

    def sleep_until(self, at_s: float) -> None:
        """Return at that time, or at once if it is past."""


class RealClock:
    """The machine's monotonic clock: the same one in all of its processes, and that of asyncio's event loops."""

    def time(self) -> float:
        return time.monotonic()

    def sleep_until(self, at_s: float) -> None:
        remaining_s = at_s - time.monotonic()
        if remaining_s > 0:
            time.sleep(remaining_s)


class SteppedClock:
    """A clock that is set from outside, and whose sleepers do not wait: it jumps to when they would wake up."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def time(self) -> float:
        return self.now_s

    def sleep_until(self, at_s: float) -> None:
        self.now_s = max(self.now_s, at_s)
