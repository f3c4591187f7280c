"""What steps cost: the host's time, the device's time, and how long it was idle while requests waited."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from ..request import Batch
from ..runner import LaunchedStep, StepResult
from ..session import ParkingTotals

_MUCH = 0.1
"""Of a step's time on the device."""


@dataclass(slots=True)
class EngineTotals:
    """Running totals over the engine's life.

    Attributes:
        host_s: Time in which the loop did not wait for the device or for requests.
        device_busy_s: Time in which the device worked on a step.
        device_idle_s: Time in which it did not, though a request that had been accepted was waiting for tokens.
    """

    num_steps: int = 0
    num_prefill_tokens: int = 0
    num_decode_tokens: int = 0
    num_preemptions: int = 0
    host_s: float = 0.0
    device_busy_s: float = 0.0
    device_idle_s: float = 0.0
    parking: ParkingTotals = field(default_factory=ParkingTotals)


class Flight(NamedTuple):
    """A step on its way: planned, launched, not collected. `step_s` is what the device is expected to take."""

    batch: Batch
    launched: LaunchedStep
    planned_s: float
    launched_s: float
    step_s: float


class DeviceWork(NamedTuple):
    """A step that the device has computed."""

    is_recorded: bool
    start_s: float
    end_s: float

    def has_much_left(self, at_s: float) -> bool:
        """Whether it was far from its end: the host was then well ahead of the device."""
        return at_s < self.end_s - _MUCH * (self.end_s - self.start_s)


class StepAccount:
    """Adds steps up.

    Attributes:
        totals: So far.
        device: The step that was added last.

    Args:
        clock: The engine's.
        is_synchronous: Launching a step is the device's work, and not the host's.
    """

    def __init__(self, clock: Callable[[], float], *, is_synchronous: bool) -> None:
        self.totals = EngineTotals()
        self.device = DeviceWork(False, 0.0, 0.0)
        self._clock = clock
        self._is_synchronous = is_synchronous
        self._host_since_s: float | None = None
        """Since when the loop has not been waiting; None while it waits."""
        self._idle_since_s = 0.0
        """Since when the device is idle, unless it works, with a request waiting for it."""

    def request_waits(self, since_s: float) -> None:
        """A request has come, and there was none before it."""
        self._idle_since_s = max(self._idle_since_s, since_s)

    def host_works(self, since_s: float) -> None:
        """The loop is not waiting, or no longer."""
        if self._host_since_s is None:
            self._host_since_s = since_s

    def host_waits(self) -> None:
        """The loop is about to wait."""
        if self._host_since_s is not None:
            self.totals.host_s += self._clock() - self._host_since_s
            self._host_since_s = None

    def add(self, flight: Flight, result: StepResult) -> None:
        """Take in a step. Steps are added in the order of their launch."""
        batch, totals, before = flight.batch, self.totals, self.device
        start_s, end_s = result.device_start_s, result.device_end_s
        self.device = DeviceWork(flight.launched.is_recorded, start_s, end_s)
        totals.num_steps += 1
        totals.num_prefill_tokens += batch.num_prefill_tokens
        totals.num_decode_tokens += batch.num_decode_tokens
        totals.device_busy_s += end_s - start_s
        idle_s = result.gap_s
        if self._idle_since_s > before.end_s:  # the first request came in the middle of it
            idle_s = min(idle_s, max(0.0, start_s - self._idle_since_s))
        totals.device_idle_s += idle_s
        self._idle_since_s = max(self._idle_since_s, end_s)
        if self._is_synchronous:
            totals.host_s -= max(0.0, min(end_s, flight.launched_s) - max(start_s, flight.planned_s))
