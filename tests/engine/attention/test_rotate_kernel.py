"""Norms, rotary embedding and storing in one kernel, against the same in torch; then attention over both."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from abatch.engine.attention.base import AttentionSettings, ChunkLayout, PackedHeads, Rotation
from abatch.engine.attention.kv_cache import KVCache
from abatch.engine.attention.paged_triton import TritonBackend, TritonStep
from abatch.engine.attention.sdpa import SdpaBackend
from support.attention import Shape, relative_error

MOST_ERROR = {torch.float32: 1e-5, torch.float16: 3e-3, torch.bfloat16: 2e-2}
CHUNKS = [ChunkLayout(0, 6, 0, [5, 2], 0), ChunkLayout(6, 1, 0, [7], 2), ChunkLayout(7, 3, 0, [1], 1)]
NUM_ROWS = 10
SETTINGS = AttentionSettings(scaling=0.2)

CASES = {
    "grouped": (Shape(8, 2, 64, 4), 64),
    "one query head": (Shape(3, 3, 32, 16, torch.float16), 32),
    "odd group": (Shape(7, 1, 80, 4, torch.bfloat16), 80),
    "partly turned": (Shape(4, 2, 40, 4), 16),
    "small head": (Shape(4, 2, 8, 4), 8),
}


@pytest.fixture
def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def drawn(*shape: int, dtype: torch.dtype, device: str, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(device, dtype)


def packed_rows(shape: Shape, rotated: int, norms: str, device: str) -> tuple[torch.Tensor, PackedHeads, Rotation]:
    """Rows, with `norms` of queries ("q"), of keys ("k"), or of both."""
    size, dtype = shape.head_size, shape.dtype
    packed = drawn(NUM_ROWS, (shape.num_heads + 2 * shape.num_kv_heads) * size, dtype=dtype, device=device, seed=1)
    turns = drawn(NUM_ROWS, rotated, dtype=dtype, device=device, seed=2)
    weights = {name: drawn(size, dtype=dtype, device=device, seed=ord(name)) for name in norms}
    heads = PackedHeads(
        num_heads=shape.num_heads,
        num_kv_heads=shape.num_kv_heads,
        head_size=size,
        query_norm=weights.get("q"),
        key_norm=weights.get("k"),
        epsilon=1e-3,
    )
    return packed, heads, Rotation(turns.cos(), turns.sin())


def attended(
    backend: TritonBackend | SdpaBackend, packed: torch.Tensor, heads: PackedHeads, rotation: Rotation
) -> torch.Tensor:
    output = backend.plan(CHUNKS).attend_packed(1, packed.clone(), heads, rotation, SETTINGS)
    assert output.shape == (NUM_ROWS, heads.num_heads * heads.head_size)
    return output.double().cpu()


def triton_backend(cache: KVCache) -> TritonBackend:
    return TritonBackend(cache, num_slots=4, max_num_pages=4)


@pytest.mark.parametrize("norms", ["", "qk"])
@pytest.mark.parametrize("name", CASES)
def test_all_of_it_in_one_kernel(name: str, norms: str, device: str) -> None:
    """Against torch in float32, of the same numbers: queries by what attention makes of them, keys and values as they
    are in their pages.
    """
    shape, rotated = CASES[name]
    packed, heads, rotation = packed_rows(shape, rotated, norms, device)
    cache = shape.cache(8, device)
    exact = replace(shape, dtype=torch.float32).cache(8)
    expected = attended(
        SdpaBackend(exact),
        packed.float().cpu(),
        replace(
            heads,
            query_norm=None if heads.query_norm is None else heads.query_norm.float().cpu(),
            key_norm=None if heads.key_norm is None else heads.key_norm.float().cpu(),
        ),
        Rotation(rotation.cos.float().cpu(), rotation.sin.float().cpu()),
    )
    output = attended(triton_backend(cache), packed, heads, rotation)
    assert relative_error(output, expected) < MOST_ERROR[shape.dtype]
    written = exact.data < 1e4
    assert ((cache.data.cpu() < 9e3) == written).all(), "and nothing else is written to"
    assert relative_error(cache.data.double().cpu()[written], exact.data.double()[written]) < MOST_ERROR[shape.dtype]


@pytest.mark.parametrize("norms", ["q", "k"])
def test_a_norm_of_one_kind_of_heads_leaves_the_other_alone(norms: str, device: str) -> None:
    shape, _ = CASES["partly turned"]
    packed, heads, rotation = packed_rows(shape, 16, norms, device)
    expected = attended(SdpaBackend(shape.cache(8, device)), packed, heads, rotation)
    assert relative_error(attended(triton_backend(shape.cache(8, device)), packed, heads, rotation), expected) < 1e-5


def test_rows_of_padding_store_nothing(device: str) -> None:
    shape, rotated = CASES["grouped"]
    packed, heads, rotation = packed_rows(shape, rotated, "", device)
    cache = shape.cache(8, device)
    before = cache.data.clone()
    nowhere = torch.full((NUM_ROWS,), -1, dtype=torch.int32, device=device)
    TritonStep(triton_backend(cache), nowhere, None, None).attend_packed(0, packed, heads, rotation, SETTINGS)
    assert cache.data.equal(before)
