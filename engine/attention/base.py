"""What an attention backend is, and how the models of transformers reach it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from ..errors import UnsupportedModelError

ATTENTION_NAME = "abatch"


@dataclass(frozen=True, slots=True)
class ChunkLayout:
    """Where one chunk of a packed step lies.

    Attributes:
        offset: Its first row in the packed step.
        num_tokens: Its rows.
        start: The position of its first row in its own sequence.
        block_ids: The sequence's KV blocks, at least as many as its `start + num_tokens` tokens need.
    """

    offset: int
    num_tokens: int
    start: int
    block_ids: Sequence[int]

    @property
    def end(self) -> int:
        """Tokens of the sequence up to and including this chunk: the keys its last row attends to."""
        return self.start + self.num_tokens


class StepAttention(Protocol):
    """Attention for one step; asked once a layer."""

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        *,
        scaling: float,
        sliding_window: int | None,
    ) -> torch.Tensor:
        """Store the step's keys and values in the layer's pages, then attend over all of each sequence.

        Args:
            layer: Index of the layer.
            query: `[T, query heads, head size]`, the packed rows of the step.
            key: `[T, KV heads, head size]`.
            value: `[T, KV heads, head size]`.
            scaling: Factor on the dot products.
            sliding_window: Each row sees this many positions up to its own; None for all.

        Returns:
            `[T, query heads, head size]`.
        """


class AttentionBackend(Protocol):
    """A way to attend over paged KV on some device. Made once a model; plans once a step."""

    def plan(self, chunks: Sequence[ChunkLayout]) -> StepAttention:
        """Prepare what all layers of a step share: page tables, masks, groups."""


def _forward(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    step_attention: StepAttention | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """The function transformers calls, with `[1, heads, T, head size]` tensors, in place of its own attention."""
    if step_attention is None:
        raise RuntimeError("the model was called without step_attention")
    if softcap is not None or s_aux is not None:
        feature = "logit soft-capping" if softcap is not None else "attention sinks"
        raise UnsupportedModelError(f"this model's attention uses {feature}, which no backend here supports yet")
    output = step_attention.attend(
        int(module.layer_idx),  # type: ignore[arg-type]  # every decoder layer of transformers numbers its attention
        query[0].transpose(0, 1),
        key[0].transpose(0, 1),
        value[0].transpose(0, 1),
        scaling=scaling if scaling is not None else query.shape[-1] ** -0.5,
        sliding_window=sliding_window,
    )
    return output.unsqueeze(0), None


def register() -> None:
    """Make `attn_implementation="abatch"` known to transformers.

    No mask function is registered with it, so models build no mask at all.
    """
    ALL_ATTENTION_FUNCTIONS.register(ATTENTION_NAME, _forward)
