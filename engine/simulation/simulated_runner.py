"""A device that takes time and computes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from ..kv.block_copy import BlockCopy, CopyDirection
from ..request import Batch
from ..runner import StepResult
from ..timing.clock import Clock
from .device_profile import HostOverhead
from .measured_steps import MeasuredSteps
from .roofline import Roofline

_COPY_LATENCY_S = 2e-5
"""To begin a copy over PCI Express."""

FIRST_TOKEN, NUM_TOKENS = 64, 26
"""What it samples, by position: in the `tiny` tokenizer, and most byte-level ones, the letters a to z."""


@dataclass(frozen=True, slots=True)
class _SimulatedStep:
    """A step that ends at a known time."""

    token_ids: list[int]
    start_s: float
    end_s: float
    gap_s: float
    clock: Clock
    is_recorded: bool = True

    def is_done(self) -> bool:
        return self.clock.time() >= self.end_s

    def collect(self) -> StepResult:
        """Sleep until the step ends."""
        self.clock.sleep_until(self.end_s)
        return StepResult(self.token_ids, [], self.start_s, self.end_s, self.gap_s)


@dataclass(frozen=True, slots=True)
class _SimulatedCopy:
    """A copy that ends at a known time."""

    start_s: float
    end_s: float
    clock: Clock

    def is_done(self) -> bool:
        return self.clock.time() >= self.end_s

    def duration_s(self) -> float:
        return self.end_s - self.start_s


class SimulatedRunner:
    """See `ModelRunner`. Launching returns at once, as on an accelerator; steps queue up behind each other.

    On a real clock this emulates a device beside the real host. On a `SteppedClock` the host is simulated too, and
    `host` is what it needs for a step; on a real clock it comes on top of what the host really needs.

    Steps that were measured are drawn from their spread, the same ones for the same seed. Where launching them was the
    work itself, as on a CPU, it is so here.
    """

    def __init__(
        self,
        roofline: Roofline,
        clock: Clock,
        host: HostOverhead,
        *,
        block_copy_s: float = 0.0,
        measured: MeasuredSteps | None = None,
        seed: int = 0,
    ) -> None:
        """Make a device that has done nothing yet.

        Args:
            roofline: What a step takes.
            clock: The engine's.
            host: What it takes beside.
            block_copy_s: Seconds to copy a KV block between device and host, in either direction; both run at once.
            measured: Of a profile that was measured: whose spread steps have.
            seed: Of what is drawn from it.
        """
        self.is_synchronous = measured is not None and measured.is_synchronous
        self._measured = measured
        self._random = Random(seed)
        self._block_copy_s = block_copy_s
        self._copies_end_s: dict[CopyDirection, float] = {"offload": 0.0, "restore": 0.0}
        self._roofline = roofline
        self._clock = clock
        self._host = host
        self._free_at_s = 0.0

    def launch(self, batch: Batch) -> _SimulatedStep:
        """Queue a step behind those launched before. On a synchronous device it is done when this returns."""
        clock = self._clock
        host_s = self._host.of(len(batch.chunks))
        if host_s:
            clock.sleep_until(clock.time() + host_s)
        start_s = max(clock.time(), self._free_at_s)
        gap_s = start_s - self._free_at_s
        step_s = self._roofline.step_s(batch)
        if self._measured is not None:
            step_s = self._measured.draw(step_s, self._random)
        self._free_at_s = end_s = start_s + step_s
        token_ids = [FIRST_TOKEN + end % NUM_TOKENS for _, _, end, samples, _ in batch.chunks if samples]
        if self.is_synchronous:
            clock.sleep_until(end_s)
        return _SimulatedStep(token_ids, start_s, end_s, gap_s, clock)

    def copy(self, copy: BlockCopy) -> _SimulatedCopy:
        """Queue a copy behind those in the same direction; steps go on beside it."""
        start_s = max(self._clock.time(), self._copies_end_s[copy.direction])
        end_s = self._copies_end_s[copy.direction] = (
            start_s + _COPY_LATENCY_S + len(copy.device_ids) * self._block_copy_s
        )
        return _SimulatedCopy(start_s, end_s, self._clock)
