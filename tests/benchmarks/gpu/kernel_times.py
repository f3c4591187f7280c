"""How long our Triton kernels take, against the bytes they must read or the products they must make.

torch's own `varlen_attn` stands beside them, over keys and values that lie in a row: what paging costs, and gains.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from random import Random
from typing import Any

import torch
from abatch.engine.attention.base import ChunkLayout
from abatch.engine.attention.kv_cache import KVCache, KVShape
from benchmarks.gpu.machine import bandwidth
from benchmarks.gpu.setting import Setting, SkippedError, error_line
from benchmarks.gpu.timing import graph_times_s

_HEADS, _KV_HEADS, _HEAD_SIZE = 32, 8, 128
_SCALING = _HEAD_SIZE**-0.5
_POINTS = [(32, 1024), (128, 1024), (32, 8192), (256, 1024), (1, 8192)]
_PAGES = (16, 256)
_CALLS = 20
_LAYERS = 8
"""Calls take turns on so many layers' keys and values: even the smallest do not stay in the cache."""
_CHUNKS = [(2048, 0), (2048, 6144)]
"""Tokens of a prompt's chunk, and how many came before it."""
_LEAST_S = 3.0
"""Time without which nothing more is begun."""


def run(setting: Setting) -> None:
    """Decodes by (sequences, context) and page size, chunks of prompts, draws; then torch's attention, if it runs."""
    if not torch.cuda.is_available():
        raise SkippedError("needs CUDA")
    bytes_per_s = bandwidth(setting)
    setting.figures.add("bandwidth_bytes_per_s", value=bytes_per_s)
    for kind, key, measure in [*_ours(), *_of_torch()]:
        if setting.left_s < _LEAST_S:
            break
        try:
            setting.figures.add(kind, key, value=measure())
        except Exception as error:  # one that does not run leaves the others
            traceback.print_exc()
            setting.figures.add(kind, key, value={"failed": error_line(error)})


Measure = tuple[str, str, Callable[[], dict[str, float]]]
"""Kind, what exactly, and how."""


def _ours() -> Iterator[Measure]:
    for page in _PAGES:
        for num_seqs, context in _POINTS:
            yield "decode", f"{num_seqs} x {context}, page {page}", partial(_decode_times, num_seqs, context, page)
    for num_tokens, before in _CHUNKS:
        for page in _PAGES:
            key = f"{num_tokens} after {before}, page {page}"
            yield "prefill", key, partial(_prefill_times, num_tokens, before, page)
    for dtype in (torch.bfloat16, torch.float32):
        yield "draw", f"256 x 128256 {str(dtype).removeprefix('torch.')}", partial(_draw_times, dtype)


def _of_torch() -> Iterator[Measure]:
    for num_seqs, context in _POINTS:
        yield "decode", f"{num_seqs} x {context}, varlen_attn", partial(_varlen_times, num_seqs, 1, context)
    for num_tokens, before in _CHUNKS:
        key = f"{num_tokens} after {before}, varlen_attn"
        yield "prefill", key, partial(_varlen_times, 1, num_tokens, before + num_tokens)


def _decode_times(num_seqs: int, context: int, page: int) -> dict[str, float]:
    """Store, attend and reduce. Bytes: the keys and values that must be read."""
    chunks = [(index, 1, context - 1) for index in range(num_seqs)]
    times = _attend_times(chunks, context, page)
    return times | {"bytes": 2.0 * num_seqs * context * _KV_HEADS * _HEAD_SIZE * 2}


def _prefill_times(num_tokens: int, before: int, page: int) -> dict[str, float]:
    return _attend_times([(0, num_tokens, before)], before + num_tokens, page) | {"flops": _flops(num_tokens, before)}


def _flops(num_tokens: int, before: int) -> float:
    """Of both products, for the pairs of a query and a key that is not behind it."""
    pairs = num_tokens * before + num_tokens * (num_tokens + 1) / 2
    return 4.0 * _HEADS * _HEAD_SIZE * pairs


def _attend_times(chunks: list[tuple[int, int, int]], context: int, page: int) -> dict[str, float]:
    """Of `attend` on a planned step. Chunks: (slot, tokens, tokens before). Pages lie in no order."""
    from abatch.engine.attention.paged_triton import TritonBackend

    device = torch.device("cuda")
    num_pages = -(-context // page)
    shape = KVShape(_LAYERS, _KV_HEADS, _HEAD_SIZE, _HEADS // _KV_HEADS)
    cache = KVCache(shape, num_pages * len(chunks), page, dtype=torch.bfloat16, device=device)
    cache.data.normal_()
    order = list(range(cache.num_blocks))
    Random(0).shuffle(order)
    layouts, offset = [], 0
    for slot, num_tokens, before in chunks:
        layouts.append(ChunkLayout(offset, num_tokens, before, order[slot * num_pages : (slot + 1) * num_pages], slot))
        offset += num_tokens
    step = TritonBackend(cache, num_slots=len(chunks), max_num_pages=num_pages).plan(layouts)
    rows = [
        torch.randn(offset, heads, _HEAD_SIZE, dtype=torch.bfloat16, device=device)
        for heads in (_HEADS, _KV_HEADS, _KV_HEADS)
    ]
    calls: list[Callable[[], object]] = [
        partial(step.attend, call % _LAYERS, *rows, scaling=_SCALING, sliding_window=None, softcap=None)
        for call in range(_CALLS)
    ]
    return graph_times_s(calls)


def _varlen_times(num_seqs: int, num_tokens: int, context: int) -> dict[str, float]:
    from torch.nn.attention.varlen import varlen_attn

    def rows(count: int, heads: int) -> torch.Tensor:
        return torch.randn(count, heads, _HEAD_SIZE, dtype=torch.bfloat16, device="cuda")

    def ends(length: int) -> torch.Tensor:
        return torch.arange(0, (num_seqs + 1) * length, length, dtype=torch.int32, device="cuda")

    query = rows(num_seqs * num_tokens, _HEADS)
    layers = [(rows(num_seqs * context, _KV_HEADS), rows(num_seqs * context, _KV_HEADS)) for _ in range(_LAYERS)]
    options: dict[str, Any] = {"enable_gqa": True} if "enable_gqa" in inspect.signature(varlen_attn).parameters else {}
    calls: list[Callable[[], object]] = [
        partial(
            varlen_attn,
            query,
            *layers[call % _LAYERS],
            ends(num_tokens),
            ends(context),
            num_tokens,
            context,
            scale=_SCALING,
            window_size=(-1, 0),
            **options,
        )
        for call in range(_CALLS)
    ]
    amount = {"flops": _flops(num_tokens, context - num_tokens)} if num_tokens > 1 else {}
    return graph_times_s(calls) | amount | {"bytes": 2.0 * num_seqs * context * _KV_HEADS * _HEAD_SIZE * 2}


def _draw_times(dtype: torch.dtype) -> dict[str, float]:
    """Half of the rows draw, half take the most likely. Bytes: the logits."""
    from abatch.engine.draw_kernel import draw

    num_rows, vocab_size = 256, 128256
    logits = [torch.randn(num_rows, vocab_size, device="cuda").to(dtype) for _ in range(4)]
    temperatures = torch.tensor([0.0, 1.0] * (num_rows // 2), device="cuda")
    seeds = torch.arange(num_rows, dtype=torch.long, device="cuda")
    calls: list[Callable[[], object]] = [partial(draw, logits[call % 4], temperatures, seeds) for call in range(_CALLS)]
    return graph_times_s(calls) | {"bytes": float(logits[0].nbytes)}
