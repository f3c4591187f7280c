"""Attention from packed rows, against norms and rotation as transformers has them."""

from __future__ import annotations

import pytest
import torch
from abatch.engine.attention.base import AttentionSettings, PackedHeads, Rotation
from abatch.engine.models.fusion.calls import ListeningStep
from transformers.models.phi3.modeling_phi3 import Phi3RMSNorm, apply_rotary_pos_emb

SETTINGS = AttentionSettings(scaling=0.5, sliding_window=3, softcap=2.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("has_norms", [False, True])
@pytest.mark.parametrize(
    ("num_heads", "num_kv_heads", "head_size", "rotated"), [(4, 4, 8, 8), (6, 2, 16, 16), (6, 2, 16, 4), (3, 1, 16, 12)]
)
def test_packed_rows_attend_as_their_parts_do(
    num_heads: int, num_kv_heads: int, head_size: int, rotated: int, has_norms: bool, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    num_rows = 7
    query, key, value = (random(num_rows, heads, head_size) for heads in (num_heads, num_kv_heads, num_kv_heads))
    packed = torch.cat([query, key, value], dim=1).flatten(1)
    angles = torch.randn((num_rows, rotated // 2), generator=generator).repeat(1, 2)
    cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)
    norms = [Phi3RMSNorm(head_size, eps=1e-5).to(dtype).requires_grad_(False) for _ in range(2)]
    if has_norms:
        for norm in norms:
            norm.weight.copy_(random(head_size))
        query, key = norms[0](query), norms[1](key)
    rotated_query, rotated_key = apply_rotary_pos_emb(
        query.transpose(0, 1)[None], key.transpose(0, 1)[None], cos[None], sin[None]
    )
    expected = ListeningStep()
    output = expected.attend(5, rotated_query[0].transpose(0, 1), rotated_key[0].transpose(0, 1), value, SETTINGS)
    heads = PackedHeads(
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_size=head_size,
        query_norm=norms[0].weight if has_norms else None,
        key_norm=norms[1].weight if has_norms else None,
        epsilon=1e-5,
    )
    step = ListeningStep()
    assert torch.equal(step.attend_packed(5, packed, heads, Rotation(cos, sin), SETTINGS), output.flatten(1))
    (ours,), (theirs,) = step.heard, expected.heard
    assert (ours.layer, ours.settings) == (5, SETTINGS)
    for name in ("query", "key", "value"):
        assert torch.equal(getattr(ours, name), getattr(theirs, name)), name
