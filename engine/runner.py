"""What the step loop asks of a device, whatever that device is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from .kv.block_copy import BlockCopy, LaunchedCopy
from .request import Batch


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """Log-probabilities (natural, of the unmodified distribution) at one sampled position.

    `top` holds (token id, log-probability), most likely first.
    """

    chosen: float
    top: list[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step sampled: one entry for each chunk of its batch that samples, in order.

    `logprobs` is empty when no request of the step asked for any. `device_start_s` and `device_end_s` are when the
    device worked on the step, by the clock of the engine. `gap_s` is how long it had been idle since the step before,
    by its own clock.
    """

    token_ids: list[int]
    logprobs: list[TokenLogprobs | None]
    device_start_s: float
    device_end_s: float
    gap_s: float


class LaunchedStep(Protocol):
    """A step under way on the device.

    Attributes:
        is_recorded: It was launched in one piece, as a CUDA graph. That takes the host, and the device, another time
            than kernel by kernel.
    """

    @property
    def is_recorded(self) -> bool: ...

    def is_done(self) -> bool:
        """Whether the device is done with it, without waiting."""

    def collect(self) -> StepResult:
        """Wait for the step's result."""


class ModelRunner(Protocol):
    """A device with a model on it. Steps run in the order of their launch, one after the other.

    Launching a step and collecting its result are two calls, and one more step may be launched in between. A chunk
    of that one may begin with a token that the first has yet to sample: its value is not in the request's `token_ids`
    when the step is launched. The runner relays it on the device, by the request's `slot`.

    Attributes:
        is_synchronous: Launching a step is the work itself, as on a CPU. There is nothing to overlap then: launching
            ahead would only hold back the tokens of the step before.
    """

    is_synchronous: bool

    def launch(self, batch: Batch) -> LaunchedStep:
        """Start a step. May return before the device is done."""

    def copy(self, copy: BlockCopy) -> LaunchedCopy:
        """Start to copy KV blocks between the device and the host tier, beside the steps."""
