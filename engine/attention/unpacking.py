"""Attention over rows that hold queries, keys and values beside each other, in plain torch."""

from __future__ import annotations

import torch

from .base import AttentionSettings, PackedHeads, Rotation, StepAttention


class UnpackingStep:
    """`attend_packed` for backends that have no kernel of their own for it: in torch, then `attend`."""

    __slots__ = ()

    def attend_packed(
        self: StepAttention,
        layer: int,
        packed: torch.Tensor,
        heads: PackedHeads,
        rotation: Rotation,
        settings: AttentionSettings,
    ) -> torch.Tensor:
        """See `StepAttention.attend_packed`."""
        rows = packed.view(packed.shape[0], -1, heads.head_size)
        query, key, value = torch.split(rows, [heads.num_heads, heads.num_kv_heads, heads.num_kv_heads], dim=1)
        query = _rotate(_norm(query, heads.query_norm, heads.epsilon), rotation)
        key = _rotate(_norm(key, heads.key_norm, heads.epsilon), rotation)
        return self.attend(layer, query, key, value, settings).flatten(1)


def _norm(rows: torch.Tensor, weight: torch.Tensor | None, epsilon: float) -> torch.Tensor:
    return rows if weight is None else rms_norm(rows, weight, epsilon)


def rms_norm(rows: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    """`rows / sqrt(mean(rows ** 2) + epsilon) * weight` over the last dimension, the mean and the root in float32.

    As transformers does: what is normed is rounded to the dtype of the weight before they meet.
    """
    wide = rows.float()
    normed = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + epsilon)
    return (weight * normed.to(weight.dtype)).to(rows.dtype)


def _rotate(rows: torch.Tensor, rotation: Rotation) -> torch.Tensor:
    cos, sin = rotation.cos.unsqueeze(1), rotation.sin.unsqueeze(1)
    turned, rest = torch.split(rows, [cos.shape[-1], rows.shape[-1] - cos.shape[-1]], dim=-1)
    first, second = turned.chunk(2, dim=-1)
    turned = turned * cos + torch.cat([-second, first], dim=-1) * sin
    return torch.cat([turned, rest], dim=-1) if rest.shape[-1] else turned
