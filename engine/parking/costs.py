"""What holding, copying and recomputing a parked context costs, in KV blocks times seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

_GAIN = 0.1
_FIRST_GUESS_PREFILL_S, _FIRST_GUESS_COPY_S = 1e-3, 1e-4
"""Per token and per block: used until the first is measured."""


class ParkCost(NamedTuple):
    """Expected waste of each choice, in blocks times seconds."""

    keep: float
    offload: float
    drop: float


@dataclass(slots=True)
class ParkCosts:
    """Learns what prefill and copies take; prices the three choices.

    Min-waste (InferCept, 2024), with an estimate in place of its oracle:

        keep    = expected remaining pause * its blocks
        offload = time of the copy back * its blocks
        drop    = time to compute the context again * (its blocks + those of the running batch, which waits longer)
    """

    prefill_token_s: float = _FIRST_GUESS_PREFILL_S
    copy_block_s: float = _FIRST_GUESS_COPY_S
    _has_prefill: bool = False
    _has_copy: bool = False

    def learn_prefill(self, num_tokens: int, seconds: float) -> None:
        """Take in how long a step of mostly prefill took."""
        value = seconds / num_tokens
        self.prefill_token_s += (value - self.prefill_token_s) * (_GAIN if self._has_prefill else 1.0)
        self._has_prefill = True

    def learn_copy(self, num_blocks: int, seconds: float) -> None:
        """Take in how long a copy between device and host took."""
        value = seconds / num_blocks
        self.copy_block_s += (value - self.copy_block_s) * (_GAIN if self._has_copy else 1.0)
        self._has_copy = True

    def prefill_s(self, num_tokens: int) -> float:
        """Seconds to compute `num_tokens` tokens."""
        return num_tokens * self.prefill_token_s

    def copy_s(self, num_blocks: int) -> float:
        """Seconds to copy `num_blocks` blocks."""
        return num_blocks * self.copy_block_s

    def of(self, *, num_blocks: int, num_tokens: int, remaining_s: float, num_running_blocks: int) -> ParkCost:
        """What keeping, offloading and dropping a parked context cost."""
        return ParkCost(
            keep=remaining_s * num_blocks,
            offload=self.copy_s(num_blocks) * num_blocks,
            drop=self.prefill_s(num_tokens) * (num_blocks + num_running_blocks),
        )
