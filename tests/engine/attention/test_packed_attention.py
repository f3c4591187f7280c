"""Attention from the packed product of all three projections, by every backend against plain torch."""

from __future__ import annotations

import pytest
import torch
from abatch.engine.attention.base import AttentionBackend, AttentionSettings, ChunkLayout, PackedHeads, Rotation
from abatch.engine.attention.paged_native import NativeBackend
from abatch.engine.attention.sdpa import SdpaBackend
from support.attention import Shape, relative_error
from support.native import INSTRUCTION_SETS, library_for
from torch.nn.functional import rms_norm

MOST_ERROR = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
SHAPES = {
    "plain": Shape(4, 2, 64, 16),
    "rounded": Shape(9, 3, 64, 16, torch.bfloat16),
    "odd": Shape(6, 1, 24, 5),
    "window": Shape(2, 1, 128, 16, sliding_window=9, softcap=3.0),
}
CHUNKS = [ChunkLayout(0, 7, 0, [3, 5, 1], 0), ChunkLayout(7, 1, 0, [0], 2), ChunkLayout(8, 9, 0, [2, 4], 1)]
NUM_ROWS = 17


def drawn(shape: Shape, *size: int, seed: int) -> torch.Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed)).to(shape.dtype)


def rotation_of(shape: Shape, rotated: int) -> Rotation:
    angles = torch.rand(NUM_ROWS, rotated // 2, generator=torch.Generator().manual_seed(5)).repeat(1, 2) * 6
    return Rotation(angles.cos().to(shape.dtype), angles.sin().to(shape.dtype))


def by_definition(
    packed: torch.Tensor, heads: PackedHeads, rotation: Rotation
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries, keys and values after norms and rotation in float64, each pair turned as a complex number."""
    rows = packed.double().view(NUM_ROWS, -1, heads.head_size)
    query, key, value = torch.split(rows, [heads.num_heads, heads.num_kv_heads, heads.num_kv_heads], dim=1)
    turned = []
    for part, weight in ((query, heads.query_norm), (key, heads.key_norm)):
        normed = part if weight is None else rms_norm(part, [heads.head_size], weight.double(), heads.epsilon)
        half = rotation.cos.shape[1] // 2
        angle = torch.complex(rotation.cos.double(), rotation.sin.double())[:, None, :half]
        pairs = torch.complex(normed[..., :half].contiguous(), normed[..., half : 2 * half].contiguous()) * angle
        turned.append(torch.cat([pairs.real, pairs.imag, normed[..., 2 * half :]], dim=-1))
    return turned[0], turned[1], value


@pytest.mark.parametrize("backend_name", ["sdpa", *INSTRUCTION_SETS])
@pytest.mark.parametrize("has_norms", [False, True])
@pytest.mark.parametrize("is_partial", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_norms_and_rotation_come_first(name: str, is_partial: bool, has_norms: bool, backend_name: str) -> None:
    shape = SHAPES[name]
    cache = shape.cache(6)
    backend: AttentionBackend
    if backend_name == "sdpa":
        backend = SdpaBackend(cache)
    else:
        library = library_for(backend_name, shape.dtype)
        backend = NativeBackend(cache, library, num_slots=3, max_num_pages=3, num_threads=1)
    norms = [drawn(shape, shape.head_size, seed=seed) for seed in (1, 2)] if has_norms else [None, None]
    heads = PackedHeads(
        num_heads=shape.num_heads,
        num_kv_heads=shape.num_kv_heads,
        head_size=shape.head_size,
        query_norm=norms[0],
        key_norm=norms[1],
        epsilon=1e-6,
    )
    rotation = rotation_of(shape, shape.head_size // 2 if is_partial else shape.head_size)
    packed = drawn(shape, NUM_ROWS, (shape.num_heads + 2 * shape.num_kv_heads) * shape.head_size, seed=3)
    settings = AttentionSettings(scaling=0.2, sliding_window=shape.sliding_window, softcap=shape.softcap)

    query, key, value = by_definition(packed, heads, rotation)
    reference = SdpaBackend(Shape(shape.num_heads, shape.num_kv_heads, shape.head_size, shape.block_size).cache(6))
    expected = reference.plan(CHUNKS).attend(1, query.float(), key.float(), value.float(), settings)

    output = backend.plan(CHUNKS).attend_packed(1, packed.clone(), heads, rotation, settings)
    assert output.shape == (NUM_ROWS, shape.num_heads * shape.head_size)
    assert output.dtype == shape.dtype
    assert relative_error(output.double(), expected.flatten(1).double()) < MOST_ERROR[shape.dtype]
    for stored, right in ((cache.keys(1), key), (cache.values(1), value)):
        first_page = stored[2][: min(9, shape.block_size)]
        assert relative_error(first_page.double(), right[8 : 8 + len(first_page)]) < MOST_ERROR[shape.dtype]
