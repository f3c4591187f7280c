"""Which rows of a step the kernels take, and in which tiles."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class DecodeParts:
    """Shares of sequences' keys (see `decode_parts`): int32 tensors `[parts]` on the device.

    Attributes:
        sequences: Their sequences, by position in `DecodeRows`. Below 0 is padding: nothing is read or written for it.
        numbers: Each one's number among those of its sequence.
        counts: How many these are.
    """

    sequences: torch.Tensor
    numbers: torch.Tensor
    counts: torch.Tensor


@dataclass(frozen=True, slots=True)
class DecodeRows:
    """Sequences that compute one token each: int32 tensors `[sequences]` on the device.

    Attributes:
        rows: Their rows in the packed step.
        slots: Their rows in the page table.
        lengths: Their keys, this step's among them.
        parts: How their keys are shared out among programs. Sequences of padding have none.
    """

    rows: torch.Tensor
    slots: torch.Tensor
    lengths: torch.Tensor
    parts: DecodeParts


@dataclass(frozen=True, slots=True)
class PrefillTiles:
    """Chunks cut into tiles of consecutive tokens: int32 tensors `[tiles]` on the device."""

    first_rows: torch.Tensor
    first_positions: torch.Tensor
    num_tokens: torch.Tensor
    slots: torch.Tensor
