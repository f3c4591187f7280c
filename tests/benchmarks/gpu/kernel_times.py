"""How long our Triton kernels take, against the bytes they must read or the products they must make.

torch's own `varlen_attn` stands beside them, over keys and values that lie in a row: what paging costs, and gains.
"""

from __future__ import annotations

import gc
import inspect
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

import torch
from abatch.engine.attention.base import AttentionSettings, ChunkLayout
from abatch.engine.attention.kv_cache import KVCache, KVShape
from abatch.engine.device.drawing import DrawRows
from abatch.engine.integers import ceil_div
from benchmarks.gpu.machine import bandwidth
from benchmarks.gpu.setting import Setting, SkippedError, error_line
from benchmarks.gpu.timing import graph_times_s

_HEADS, _KV_HEADS, _HEAD_SIZE = 32, 8, 128
_HIDDEN, _INTERMEDIATE = 4096, 14_336
_SCALING = _HEAD_SIZE**-0.5
_LEAST_S = 3.0
"""Time without which nothing more is begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured, what matters most first.

    Attributes:
        layers: The model's. How far one page's next layer lies from this one's is part of what is measured, and with
            so many layers in turn nothing stays in the cache.
        points: (sequences, context) of decodes.
        pages: Tokens of a KV block.
        chunks: Tokens of a prompt's chunk, and how many came before it.
        rows: Of norms and gates.
        draws: (rows, vocabulary).
        repeats: Of each.
    """

    layers: int = 32
    points: tuple[tuple[int, int], ...] = ((32, 1024), (128, 1024), (1, 8192), (32, 8192), (256, 1024))
    pages: tuple[int, ...] = (16, 64, 256)
    chunks: tuple[tuple[int, int], ...] = ((2048, 0), (2048, 6144), (512, 1024))
    rows: tuple[int, ...] = (32, 256)
    draws: tuple[int, int] = (256, 128_256)
    repeats: int = 20


_DRY_PLAN = Plan(layers=2, points=((2, 20),), pages=(16,), chunks=((5, 3),), rows=(2,), draws=(2, 50), repeats=1)


def run(setting: Setting) -> None:
    """Decodes by (sequences, context) and page size, chunks of prompts, draws; then torch's attention, if it runs.

    Raises:
        SkippedError: Triton has nothing here to run on.
    """
    if not _runs_here():
        raise SkippedError("needs CUDA, or Triton's interpreter")
    setting.figures.add("bandwidth_bytes_per_s", value=bandwidth(setting))
    plan = setting.choose(Plan(), _DRY_PLAN)
    for keys, measure in [*_ours(plan), *_of_torch(plan)]:
        if setting.left_s < _LEAST_S:
            break
        try:
            setting.figures.add(*keys, value=measure())
        except Exception as error:  # one that does not run leaves the others
            traceback.print_exc()
            setting.figures.add(*keys, value={"failed": error_line(error)})
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # the largest points want half of the memory in one piece


def _runs_here() -> bool:
    if torch.cuda.is_available():
        return True
    import triton

    return bool(triton.knobs.runtime.interpret)


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


Measure = tuple[tuple[str, str, str], Callable[[], dict[str, float]]]
"""Kind, what exactly, by what; and how."""


def _ours(plan: Plan) -> Iterator[Measure]:
    for num_seqs, context in plan.points:
        for page in plan.pages:
            yield (
                ("decode", f"{num_seqs} x {context}", f"page {page}"),
                partial(_decode_times, plan, num_seqs, context, page),
            )
    for num_tokens, before in plan.chunks:
        for page in plan.pages:
            yield (
                ("prefill", f"{num_tokens} after {before}", f"page {page}"),
                partial(_prefill_times, plan, num_tokens, before, page),
            )
    for num_rows in plan.rows:
        for name in ("norm", "gate"):
            yield ("rows", f"{num_rows} x {_HIDDEN}", name), partial(_row_times, plan, num_rows, name)
    for top_p in (1.0, 0.9):
        yield ("draw", f"{plan.draws[0]} x {plan.draws[1]}", f"top_p {top_p:g}"), partial(_draw_times, plan, top_p)


def _of_torch(plan: Plan) -> Iterator[Measure]:
    if not torch.cuda.is_available():
        return
    for num_seqs, context in plan.points[:3]:
        key = ("decode", f"{num_seqs} x {context}", "varlen_attn")
        yield key, partial(_varlen_times, plan, num_seqs, 1, context)
    for num_tokens, before in plan.chunks:
        key = ("prefill", f"{num_tokens} after {before}", "varlen_attn")
        yield key, partial(_varlen_times, plan, 1, num_tokens, before + num_tokens)


def _decode_times(plan: Plan, num_seqs: int, context: int, page: int) -> dict[str, float]:
    """Store and attend. Bytes: the keys and values that must be read."""
    chunks = [(index, 1, context - 1) for index in range(num_seqs)]
    return _attend_times(plan, chunks, context, page) | {"bytes": _kv_bytes(num_seqs, context)}


def _prefill_times(plan: Plan, num_tokens: int, before: int, page: int) -> dict[str, float]:
    times = _attend_times(plan, [(0, num_tokens, before)], before + num_tokens, page)
    return times | {"flops": _flops(num_tokens, before)}


def _kv_bytes(num_seqs: int, context: int) -> float:
    """Of a layer's keys and values in bfloat16."""
    return 2.0 * num_seqs * context * _KV_HEADS * _HEAD_SIZE * 2


def _flops(num_tokens: int, before: int) -> float:
    """Of both products, for the pairs of a query and a key that is not behind it."""
    pairs = num_tokens * before + num_tokens * (num_tokens + 1) / 2
    return 4.0 * _HEADS * _HEAD_SIZE * pairs


def _attend_times(plan: Plan, chunks: list[tuple[int, int, int]], context: int, page: int) -> dict[str, float]:
    """Of `attend`, layer after layer. Chunks: (slot, tokens, tokens before). Pages lie in no order."""
    from abatch.engine.attention.paged_triton import TritonBackend

    device = _device()
    num_pages = ceil_div(context, page)
    shape = KVShape(plan.layers, _KV_HEADS, _HEAD_SIZE, _HEADS // _KV_HEADS)
    cache = KVCache(shape, num_pages * len(chunks), page, dtype=torch.bfloat16, device=device)
    cache.data.normal_()
    order = list(range(cache.num_blocks))
    Random(0).shuffle(order)
    layouts, offset = [], 0
    for slot, num_tokens, before in chunks:
        layouts.append(ChunkLayout(offset, num_tokens, before, order[slot * num_pages : (slot + 1) * num_pages], slot))
        offset += num_tokens
    step = TritonBackend(cache, num_slots=len(chunks), max_num_pages=num_pages).plan(layouts)
    query, key, value = (
        torch.randn(offset, heads, _HEAD_SIZE, dtype=torch.bfloat16, device=device)
        for heads in (_HEADS, _KV_HEADS, _KV_HEADS)
    )
    settings = AttentionSettings(scaling=_SCALING)
    calls: list[Callable[[], object]] = [
        partial(step.attend, layer, query, key, value, settings) for layer in range(plan.layers)
    ]
    return graph_times_s(calls, plan.repeats)


def _varlen_times(plan: Plan, num_seqs: int, num_tokens: int, context: int) -> dict[str, float]:
    from torch.nn.attention.varlen import varlen_attn

    def rows(count: int, heads: int) -> torch.Tensor:
        return torch.randn(count, heads, _HEAD_SIZE, dtype=torch.bfloat16, device="cuda")

    def ends(length: int) -> torch.Tensor:
        return torch.arange(0, (num_seqs + 1) * length, length, dtype=torch.int32, device="cuda")

    query = rows(num_seqs * num_tokens, _HEADS)
    layers = [(rows(num_seqs * context, _KV_HEADS), rows(num_seqs * context, _KV_HEADS)) for _ in range(plan.layers)]
    options: dict[str, Any] = {"enable_gqa": True} if "enable_gqa" in inspect.signature(varlen_attn).parameters else {}
    calls: list[Callable[[], object]] = [
        partial(
            varlen_attn,
            query,
            *layer,
            ends(num_tokens),
            ends(context),
            num_tokens,
            context,
            scale=_SCALING,
            window_size=(-1, 0),
            **options,
        )
        for layer in layers
    ]
    times = graph_times_s(calls, plan.repeats)
    if num_tokens > 1:
        return times | {"flops": _flops(num_tokens, context - num_tokens)}
    return times | {"bytes": _kv_bytes(num_seqs, context)}


def _row_times(plan: Plan, num_rows: int, name: str) -> dict[str, float]:
    """Of a norm or a gate, as many as the model has of them. Bytes: read and written."""
    from abatch.engine.models.fusion.triton_kernels import TritonKernels

    kernels, device = TritonKernels(), _device()
    weight = torch.ones(_HIDDEN, dtype=torch.bfloat16, device=device)
    size = _HIDDEN if name == "norm" else 2 * _INTERMEDIATE
    layers = [torch.randn(num_rows, size, device=device).bfloat16() for _ in range(plan.layers)]
    if name == "norm":
        calls: list[Callable[[], object]] = [partial(kernels.rms_norm, rows, weight, 1e-5) for rows in layers]
        return graph_times_s(calls, plan.repeats) | {"bytes": 2.0 * layers[0].nbytes}
    calls = [partial(kernels.gate, rows) for rows in layers]
    return graph_times_s(calls, plan.repeats) | {"bytes": 1.5 * layers[0].nbytes}


def _draw_times(plan: Plan, top_p: float) -> dict[str, float]:
    """Half of the rows draw, half take the most likely. Bytes: the logits, read once."""
    from abatch.engine.device.draw_kernel import draw

    num_rows, vocab_size = plan.draws
    device = _device()
    logits = [torch.randn(num_rows, vocab_size, device=device).bfloat16() for _ in range(4)]
    rows = DrawRows(
        seeds=torch.arange(num_rows, dtype=torch.long, device=device),
        temperatures=torch.tensor([0.0, 1.0] * (num_rows // 2), device=device),
        top_ks=torch.zeros(num_rows, dtype=torch.int32, device=device),
        top_ps=torch.full((num_rows,), top_p, device=device),
    )
    calls: list[Callable[[], object]] = [partial(draw, one, rows) for one in logits]
    return graph_times_s(calls, plan.repeats) | {"bytes": float(logits[0].nbytes)}
