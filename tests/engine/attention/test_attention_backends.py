"""The backends that torch computes for, against attention from its definition."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from random import Random
from typing import Any

import pytest
import torch
from abatch.engine.attention.base import AttentionBackend, AttentionSettings, ChunkLayout
from abatch.engine.attention.kv_cache import KVCache
from abatch.engine.attention.paged_native import NativeBackend
from abatch.engine.attention.sdpa import SdpaBackend
from abatch.engine.attention.varlen import VarlenBackend, varlen_problem
from abatch.engine.errors import UnsupportedModelError
from support.attention import History, Shape, relative_error
from support.native import INSTRUCTION_SETS, library_for

MOST_ERROR = {torch.float32: 1e-5, torch.bfloat16: 1.5e-2}

SHAPES = {
    "plain": Shape(4, 4, 16, 4),
    "grouped": Shape(8, 2, 16, 4),
    "one KV head": Shape(6, 1, 24, 16),
    "window": Shape(4, 2, 16, 4, sliding_window=7),
    "window of one": Shape(2, 1, 8, 4, sliding_window=1),
    "large page": Shape(4, 2, 8, 256, sliding_window=20),
}
CAPPED = {
    "cap": Shape(4, 4, 16, 4, softcap=0.5),
    "grouped cap": Shape(8, 2, 16, 4, softcap=1.0),
    "window and cap": Shape(6, 2, 16, 4, sliding_window=7, softcap=0.5),
    "rounded cap": Shape(8, 2, 16, 4, torch.bfloat16, softcap=1.0),
}


def flash_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cu_seq_q: torch.Tensor,
    cu_seq_k: torch.Tensor,
    max_q: int,
    max_k: int,
    *,
    scale: float,
    window_size: tuple[int, int],
    enable_gqa: bool,
    seqused_k: torch.Tensor,
    block_table: torch.Tensor,
) -> torch.Tensor:
    """What `varlen_attn` is documented to compute of these arguments, in float64; its kernel checks them so, too."""
    num_seqs = len(seqused_k)
    assert {tensor.dtype for tensor in (cu_seq_q, cu_seq_k, seqused_k, block_table)} == {torch.int32}
    assert all(tensor.is_contiguous() for tensor in (cu_seq_q, cu_seq_k, seqused_k, block_table))
    assert {tensor.stride(-1) for tensor in (query, key, value)} == {1}
    assert len(cu_seq_q) == len(cu_seq_k) == num_seqs + 1 == len(block_table) + 1
    assert max_q == cu_seq_q.diff().max()
    assert max_k == cu_seq_k.diff().max()
    assert cu_seq_k.diff().equal(seqused_k)
    group = query.shape[1] // key.shape[2]
    assert enable_gqa == (group > 1)
    left, right = window_size
    assert right == 0
    outputs = []
    for (first, last), pages, num_keys in zip(
        pairwise(cu_seq_q.tolist()), block_table, seqused_k.tolist(), strict=True
    ):
        keys, values = (
            cache[pages].flatten(0, 1)[:num_keys].double().repeat_interleave(group, dim=1) for cache in (key, value)
        )
        scores = torch.einsum("qhd,khd->hqk", query[first:last].double(), keys) * scale
        # Aligned to the bottom right: the last row is at the last key.
        positions = torch.arange(num_keys - (last - first), num_keys).unsqueeze(1)
        others = torch.arange(num_keys)
        hidden = others > positions + right
        if left >= 0:
            hidden |= others < positions - left
        weights = scores.masked_fill(hidden, float("-inf")).softmax(dim=-1)
        outputs.append(torch.einsum("hqk,khd->qhd", weights, values))
    return torch.cat(outputs).to(query.dtype)


@pytest.fixture
def varlen(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's kernel runs on CUDA only; the arguments it gets can be judged without."""
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", flash_attention)


def ragged_steps(shape: Shape, make: Callable[[KVCache], AttentionBackend]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Chunks that begin and end anywhere, of one token among them, beside decodes; then decodes alone."""
    random = Random(shape.num_heads)
    history = History(shape, [0] * 5, 80, seed=1)
    backend = make(history.cache)
    counts = [
        {0: shape.block_size, 1: 1, 2: random.randint(2, 40)},
        {2: 1, 0: 1, 3: random.randint(30, 70), 1: random.randint(2, 9)},
        {4: 2, 1: shape.block_size - 1, 3: 3, 2: 1},
        {4: 1, 3: 1, 2: 1, 1: 1, 0: 1},
    ]
    return [history.step(backend, step) for step in counts]


@pytest.mark.parametrize("name", SHAPES | CAPPED)
def test_gathered_pages(name: str) -> None:
    shape = (SHAPES | CAPPED)[name]
    for output, expected in ragged_steps(shape, SdpaBackend):
        assert relative_error(output, expected) < MOST_ERROR[shape.dtype]


OF_REAL_MODELS = {
    "heads of 64": Shape(9, 3, 64, 16),
    "heads of 128, rounded": Shape(8, 2, 128, 16, torch.bfloat16),
    "heads of 80": Shape(4, 4, 80, 16),
    "heads of 96, rounded, window": Shape(6, 1, 96, 32, torch.bfloat16, sliding_window=70),
    "heads of 20": Shape(4, 2, 20, 3),
    "many lines": Shape(40, 1, 16, 8),
}


@pytest.mark.parametrize("instruction_set", INSTRUCTION_SETS)
@pytest.mark.parametrize("name", SHAPES | CAPPED | OF_REAL_MODELS)
def test_pages_read_where_they_are(name: str, instruction_set: str) -> None:
    shape = (SHAPES | CAPPED | OF_REAL_MODELS)[name]
    library = library_for(instruction_set, shape.dtype)

    def make(cache: KVCache) -> AttentionBackend:
        return NativeBackend(cache, library, num_slots=7, max_num_pages=80, num_threads=1)

    for output, expected in ragged_steps(shape, make):
        assert relative_error(output, expected) < MOST_ERROR[shape.dtype]


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.usefixtures("varlen")
def test_one_call_for_sequences_of_different_lengths(name: str) -> None:
    of_sdpa = ragged_steps(SHAPES[name], SdpaBackend)
    for (output, expected), (other, _) in zip(ragged_steps(SHAPES[name], VarlenBackend), of_sdpa, strict=True):
        assert relative_error(output, expected) < 1e-6
        assert relative_error(output, other) < 1e-5


def test_what_the_kernel_is_told() -> None:
    """Sequences of 7 tokens (3 of them new), 4 (one new) and 9 (all new) in blocks of 4."""
    cache = Shape(2, 1, 8, 4).cache(8)
    chunks = [ChunkLayout(0, 3, 4, [5, 2, 6], 0), ChunkLayout(3, 1, 3, [7, 0], 1), ChunkLayout(4, 9, 0, [1, 4, 3], 2)]
    step = VarlenBackend(cache).plan(chunks)
    assert step.query_ends.tolist() == [0, 3, 4, 13]
    assert step.key_ends.tolist() == [0, 7, 11, 20]
    assert step.lengths.tolist() == [7, 4, 9]
    assert step.block_table.tolist() == [[5, 2, 0], [7, 0, 0], [1, 4, 3]], "pages without tokens are left out"
    assert (step.most_queries, step.most_keys) == (9, 9)
    assert step.places.blocks.tolist() == [2, 2, 2, 7, 1, 1, 1, 1, 4, 4, 4, 4, 3]
    assert step.places.offsets.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0]


def attend(query: torch.Tensor, softcap: float | None = None) -> torch.Tensor:
    """One sequence of three tokens, two query heads, a KV head of 8."""
    step = VarlenBackend(Shape(2, 1, 8, 4).cache(1)).plan([ChunkLayout(0, 3, 0, [0], 0)])
    key = torch.ones(3, 1, 8)
    return step.attend(0, query, key, key, AttentionSettings(scaling=1.0, softcap=softcap))


@pytest.mark.usefixtures("varlen")
def test_heads_that_are_not_dense_in_memory() -> None:
    query = torch.ones(3, 8, 2).transpose(1, 2)
    assert query.stride(-1) == 2
    assert attend(query).equal(torch.ones(3, 2, 8))


@pytest.mark.usefixtures("varlen")
def test_a_cap_that_torch_would_leave_out_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="choose triton or sdpa"):
        attend(torch.ones(3, 2, 8), softcap=30.0)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({}, None),
        ({"device": torch.device("cpu")}, "needs a CUDA device"),
        ({"dtype": torch.float32}, "not in float32"),
        ({"block_size": 16}, "multiple of 256 tokens, and --block-size is 16"),
        ({"block_size": 512, "head_size": 256}, None),
        ({"head_size": 100}, "heads of 100"),
        ({"head_size": 512}, "heads of 512"),
        ({"softcap": 50.0}, "soft-capping"),
    ],
)
def test_where_torch_attends_over_pages(
    changed: dict[str, Any], says: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda _: (9, 0))
    given: dict[str, Any] = {
        "device": torch.device("cuda"),
        "dtype": torch.bfloat16,
        "block_size": 256,
        "head_size": 128,
    }
    problem = varlen_problem(**(given | changed))
    assert (problem is None) == (says is None)
    assert problem is None or (says is not None and says in problem and "\n" not in problem)


def test_old_gpus_and_an_old_torch_are_no_place_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = (torch.device("cuda"), torch.float16, 256, 64)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda _: (7, 5))
    assert "compute capability" in str(varlen_problem(*arguments))
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", lambda query, key, value: query)
    assert "2.12" in str(varlen_problem(*arguments))
