"""How rows of logits draw their tokens, and where these go: the inputs of `draw_kernel`, without Triton."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..request import ScheduledChunk


@dataclass(frozen=True, slots=True)
class DrawRows:
    """How each row draws: tensors `[rows]`.

    Attributes:
        seeds: int64.
        temperatures: float32; 0 takes the most likely token, the first of several.
        top_ks: int32: keep this many most likely tokens; 0 keeps all.
        top_ps: float32: keep the fewest tokens of at least this probability; 1 keeps all.
    """

    seeds: torch.Tensor
    temperatures: torch.Tensor
    top_ks: torch.Tensor
    top_ps: torch.Tensor


def drawing_columns(sampling: Sequence[ScheduledChunk]) -> dict[str, list[int] | list[float]]:
    """The columns of `DrawRows` for these chunks, except their seeds."""
    params = [chunk[0].sampling for chunk in sampling]
    return {
        "temperatures": [0.0 if one.is_greedy else one.temperature for one in params],
        "top_ks": [one.top_k for one in params],
        "top_ps": [one.top_p for one in params],
    }


@dataclass(frozen=True, slots=True)
class Relay:
    """Where a recorded step leaves its tokens for the next step and for the host.

    Attributes:
        slots: `[rows]` int32: of each row's sequence.
        last_tokens: `[slots]` int64: the last token of each sequence.
        drawn: `[2, most rows]` int64: what the host reads.
        turn: `[1]` int32: which half of `drawn` this step writes. The host may still be reading the other.
    """

    slots: torch.Tensor
    last_tokens: torch.Tensor
    drawn: torch.Tensor
    turn: torch.Tensor
