"""When a device worked on a step, by the host's clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch


class Stopwatch(Protocol):
    """Runs from its making to `stop`, in the order of the device's work."""

    def stop(self) -> None:
        """The work launched so far is what was timed."""

    def read(self) -> tuple[float, float]:
        """When the work began and ended. Waits for the end."""


def stopwatches(device: torch.device, clock: Callable[[], float]) -> Callable[[], Stopwatch]:
    """A maker of stopwatches for a device, in the time of `clock`."""
    if device.type != "cuda":
        return lambda: _HostStopwatch(clock)
    origin = torch.cuda.Event(enable_timing=True)
    origin.record()
    origin.synchronize()
    origin_s = clock()
    return lambda: _CudaStopwatch(origin, origin_s)


class _HostStopwatch:
    """Launching is the work."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._start_s = self._end_s = clock()

    def stop(self) -> None:
        self._end_s = self._clock()

    def read(self) -> tuple[float, float]:
        return self._start_s, self._end_s


class _CudaStopwatch:
    """Events in the current stream, placed on the host's clock by one that both saw."""

    def __init__(self, origin: torch.cuda.Event, origin_s: float) -> None:
        self._origin = origin
        self._origin_s = origin_s
        self._start = torch.cuda.Event(enable_timing=True)
        self._end = torch.cuda.Event(enable_timing=True)
        self._start.record()

    def stop(self) -> None:
        self._end.record()

    def read(self) -> tuple[float, float]:
        self._end.synchronize()
        start_ms, end_ms = self._origin.elapsed_time(self._start), self._origin.elapsed_time(self._end)
        return self._origin_s + start_ms / 1e3, self._origin_s + end_ms / 1e3
