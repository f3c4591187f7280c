"""What the step loop asks of a device, whatever that device is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

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
    """What a step sampled: one entry for each chunk of its batch that samples, in order."""

    token_ids: list[int]
    logprobs: list[TokenLogprobs | None]


class LaunchedStep(Protocol):
    """A step under way on the device."""

    def collect(self) -> StepResult:
        """Wait for the step's result."""


class ModelRunner(Protocol):
    """A device with a model on it.

    Launching a step and collecting its result are two calls, so that a loop may plan the next step in between.
    """

    def launch(self, batch: Batch) -> LaunchedStep:
        """Start a step. May return before the device is done."""
