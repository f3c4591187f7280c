"""What an attention backend is, and how models of transformers reach it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from ..errors import UnsupportedModelError
from .kv_cache import KVCache

ATTENTION_NAME = "abatch"


@dataclass(frozen=True, slots=True)
class ChunkLayout:
    """Where one chunk of a packed step lies.

    Attributes:
        offset: Its first row in the packed step.
        num_tokens: Its rows.
        start: The position of its first row in its own sequence.
        block_ids: The sequence's KV blocks, at least as many as its `start + num_tokens` tokens need.
        slot: Row of the runner's per-sequence state: what a backend may remember a sequence by from step to step.
    """

    offset: int
    num_tokens: int
    start: int
    block_ids: Sequence[int]
    slot: int

    @property
    def end(self) -> int:
        """Tokens of the sequence up to and including this chunk: the keys its last row attends to."""
        return self.start + self.num_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionSettings:
    """How a layer of a model attends.

    Attributes:
        scaling: Factor on the dot products.
        sliding_window: Each row sees this many positions up to its own; None for all.
        softcap: The scaled dot products become `softcap * tanh(scores / softcap)`; None leaves them as they are.
    """

    scaling: float
    sliding_window: int | None = None
    softcap: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedHeads:
    """How the queries, keys and values of a row lie beside each other, and what happens to them before they attend.

    A row is `[query heads, KV heads of keys, KV heads of values]`, each of `head_size` numbers.

    Attributes:
        query_norm: `[head_size]`: weight of an RMS norm over each query head; None without one.
        key_norm: The same of the keys.
        epsilon: Of both norms.
    """

    num_heads: int
    num_kv_heads: int
    head_size: int
    query_norm: torch.Tensor | None = None
    key_norm: torch.Tensor | None = None
    epsilon: float = 0.0


@dataclass(frozen=True, slots=True)
class Rotation:
    """Rotary embedding of a step's rows: `[T, rotated]` each, in the dtype of the model.

    The first `rotated` numbers of a head are turned in pairs (i, i + rotated / 2); the rest stays as it is.
    """

    cos: torch.Tensor
    sin: torch.Tensor


class StepAttention(Protocol):
    """Attention for one step; called once per layer."""

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        settings: AttentionSettings,
    ) -> torch.Tensor:
        """Store the step's keys and values in the layer's pages, then attend over all of each sequence.

        Args:
            layer: Index of the layer.
            query: `[T, query heads, head size]`, the packed rows of the step.
            key: `[T, KV heads, head size]`.
            value: `[T, KV heads, head size]`.
            settings: How the layer attends.

        Returns:
            `[T, query heads, head size]`.

        Raises:
            UnsupportedModelError: this backend cannot compute such attention.
        """

    def attend_packed(
        self,
        layer: int,
        packed: torch.Tensor,
        heads: PackedHeads,
        rotation: Rotation,
        settings: AttentionSettings,
    ) -> torch.Tensor:
        """Norms, rotary embedding, and then as `attend`, from the product of all three projections.

        Args:
            layer: Index of the layer.
            packed: `[T, (query heads + 2 * KV heads) * head size]`. May be written over.
            heads: How a row of it is laid out.
            rotation: Of the rows.
            settings: How the layer attends.

        Returns:
            `[T, query heads * head size]`.

        Raises:
            UnsupportedModelError: this backend cannot compute such attention.
        """


class AttentionBackend(Protocol):
    """A way to attend over paged KV on some device. Made once per model; plans once per step."""

    name: str
    """Its name for `--attention`."""
    cache: KVCache

    def plan(self, chunks: Sequence[ChunkLayout]) -> StepAttention:
        """Prepare what all layers of a step share: page tables, masks, groups."""


class NoStepAttentionError(RuntimeError):
    """A model's attention was called without `step_attention`."""


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
        raise NoStepAttentionError("the model was called without step_attention")
    if s_aux is not None:
        raise UnsupportedModelError("this model's attention uses attention sinks, which no backend here supports yet")
    output = step_attention.attend(
        int(module.layer_idx),  # type: ignore[arg-type]  # every decoder layer of transformers numbers its attention
        query[0].transpose(0, 1),
        key[0].transpose(0, 1),
        value[0].transpose(0, 1),
        AttentionSettings(
            scaling=scaling if scaling is not None else query.shape[-1] ** -0.5,
            sliding_window=sliding_window,
            softcap=softcap,
        ),
    )
    return output.unsqueeze(0), None


def register(*, is_opaque: bool = False) -> None:
    """Make `attn_implementation="abatch"` known to transformers.

    No mask function is registered with it, so models build no mask at all.

    Args:
        is_opaque: Hide it from torch.compile. What a step attends to differs every time, and compiled code must not
            depend on it.
    """
    forward = torch.compiler.disable(_forward) if is_opaque else _forward
    ALL_ATTENTION_FUNCTIONS.register(ATTENTION_NAME, forward)
