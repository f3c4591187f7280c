"""When a device worked on a step, by the host's clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch


class Stopwatch(Protocol):
    """Runs from its making to `stop`, in the order of the device's work."""

    def restart(self) -> None:
        """What was launched so far was not part of the work, after all."""

    def stop(self) -> None:
        """The work launched so far is what was timed."""

    def read(self) -> tuple[float, float, float]:
        """When the work began and ended, and for how long the device had been idle before.

        Waits for the end. Stopwatches are read in the order they were made.
        """


class HostStopwatches:
    """For devices where launching is the work."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.last_end_s = clock()

    def start(self) -> Stopwatch:
        """A running stopwatch."""
        return _HostStopwatch(self)


class _HostStopwatch:
    def __init__(self, owner: HostStopwatches) -> None:
        self._owner = owner
        self._start_s = self._end_s = owner.clock()

    def restart(self) -> None:
        self._start_s = self._owner.clock()

    def stop(self) -> None:
        self._end_s = self._owner.clock()

    def read(self) -> tuple[float, float, float]:
        gap_s = max(0.0, self._start_s - self._owner.last_end_s)
        self._owner.last_end_s = self._end_s
        return self._start_s, self._end_s, gap_s


class CudaStopwatches:
    """Events in the current stream, each placed on the host's clock by the one before it.

    Only differences between neighbours are taken from the events: those from a distant origin are single-precision
    milliseconds, a quarter of a millisecond coarse after an hour, and the two clocks drift. Whenever the host has had
    to wait for an end, that end is when it returned. How long the device was idle between two steps is from event to
    event: the host's account of both would add what it needs to wake up.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.anchor = torch.cuda.Event(enable_timing=True)
        self.anchor.record()
        self.anchor.synchronize()
        self.anchor_s = clock()

    def start(self) -> Stopwatch:
        """A running stopwatch."""
        return _CudaStopwatch(self)


class _CudaStopwatch:
    def __init__(self, owner: CudaStopwatches) -> None:
        self._owner = owner
        self._start = torch.cuda.Event(enable_timing=True)
        self._end = torch.cuda.Event(enable_timing=True)
        self._start.record()

    def restart(self) -> None:
        self._start.record()

    def stop(self) -> None:
        self._end.record()

    def read(self) -> tuple[float, float, float]:
        owner = self._owner
        was_done = self._end.query()
        self._end.synchronize()
        now_s = owner.clock()
        end_s = now_s
        if was_done:
            end_s = min(now_s, owner.anchor_s + owner.anchor.elapsed_time(self._end) / 1e3)
        start_s = end_s - self._start.elapsed_time(self._end) / 1e3
        gap_s = max(0.0, owner.anchor.elapsed_time(self._start) / 1e3)
        owner.anchor, owner.anchor_s = self._end, end_s
        return start_s, end_s, gap_s
