"""The limits a step is planned under."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal

from ..errors import ConfigurationError
from .queue_policy import POLICIES, PolicyName

Batching = Literal["window", "continuous", "async"]
BATCHING_MODES: tuple[Batching, ...] = ("window", "continuous", "async")
_LONGEST_WINDOW_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerConfig:
    """The limits a step is planned under.

    Attributes:
        batching: `continuous` admits and evicts at every step; `async` also plans and launches each step while the one
            before it runs; `window` collects requests, then runs them to the end.
        max_num_seqs: Sequences that may run at once.
        max_num_batched_tokens: Token budget of a step. Decodes are served first; prefill chunks get the rest.
        max_step_s: Time budget of a step: prefill chunks are as long as it allows. None: see `StepBudget`; 0: none.
        max_model_len: Most tokens (prompt and output) a request may have.
        window_size: `window` only: a batch starts when this many requests wait ...
        window_timeout_s: ... or when the oldest has waited this long.
        policy: Which waiting request joins next (see `queue_policy`).
        slice_tokens: Output tokens after which a session's request makes way for requests that wait.
    """

    batching: Batching = "async"
    max_num_seqs: int = 64
    max_num_batched_tokens: int = 512
    max_step_s: float | None = None
    max_model_len: int = 8192
    window_size: int = 16
    window_timeout_s: float = 0.05
    policy: PolicyName = "fcfs"
    slice_tokens: int = 2048

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise ConfigurationError(f"--policy must be one of {', '.join(POLICIES)}, not {self.policy!r}")
        if self.batching not in BATCHING_MODES:
            raise ConfigurationError(f"--batching must be one of {', '.join(BATCHING_MODES)}, not {self.batching!r}")
        for name in ("max_num_seqs", "max_num_batched_tokens", "max_model_len", "window_size"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"--{name.replace('_', '-')} must be at least 1, not {getattr(self, name)}")
        if self.max_step_s is not None and not 0 <= self.max_step_s < inf:
            raise ConfigurationError(f"--max-step-ms must be 0 or more milliseconds, not {self.max_step_s * 1e3:g}")
        if not 0 <= self.window_timeout_s <= _LONGEST_WINDOW_S:
            raise ConfigurationError(
                f"--window-timeout must be 0 to {_LONGEST_WINDOW_S:g} seconds, not {self.window_timeout_s:g}"
            )
        if self.max_num_batched_tokens < self.max_num_seqs:
            raise ConfigurationError(
                f"--max-num-batched-tokens ({self.max_num_batched_tokens}) must be at least --max-num-seqs "
                f"({self.max_num_seqs}), so that every running sequence can decode one token per step"
            )

    @property
    def steps_ahead(self) -> int:
        """Steps that may be planned and launched before the result of an earlier one is known."""
        return 1 if self.batching == "async" else 0

    @property
    def num_slots(self) -> int:
        """Rows of per-sequence state that a runner needs: those that have ended keep theirs in their last step."""
        return (1 + self.steps_ahead) * self.max_num_seqs
