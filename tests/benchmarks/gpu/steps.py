"""How long a decode step takes, by batch size and context, against the least it can take."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Sequence
from typing import Any

import torch
from benchmarks.gpu.driving import DecodeSteps, EngineBench, decode_steps, random_prompts
from benchmarks.gpu.floor import step_floor_s
from benchmarks.gpu.machine import bandwidth
from benchmarks.gpu.setting import Setting, error_line, spread

_POINTS = [(32, 1024), (128, 1024), (1, 1024), (256, 1024), (64, 1024), (8, 1024), (32, 8192)]
_FEW_POINTS = _POINTS[:2]
"""(requests, context); what matters most comes first."""
_DRY_POINTS = [(2, 32), (1, 32)]
_NUM_BLOCKS = 20_480
"""Of 16 tokens: 43 GB for this model, which fits beside it into 80 GB. Sized by the engine, it would take longer."""
_TOKENS, _DRY_TOKENS = 64, 12
_REPEATS = 3
_VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "cuda_graphs=False": {"cuda_graphs": False},
    "attention=sdpa": {"attention": "sdpa"},
    "compile=True": {"compile": True},
}
_LEAST_S = {"cuda_graphs=False": 20.0, "attention=sdpa": 20.0, "compile=True": 40.0}
"""Time without which a variant is not begun: loading it takes most of that."""


def run(setting: Setting) -> None:
    """All points by the engine as it is, then a few with a part of it taken away or added.

    A variant that fails leaves the others: what went wrong is in its place.
    """
    bytes_per_s = bandwidth(setting)
    setting.figures.add("bandwidth_bytes_per_s", value=bytes_per_s)
    for name, options in _VARIANTS.items():
        if setting.left_s < setting.choose(_LEAST_S.get(name, 0.0), 2.0):
            setting.figures.add(name, "skipped", value=f"{max(0.0, setting.left_s):.0f} s were left")
            continue
        points = setting.choose(_POINTS if name == "default" else _FEW_POINTS, _DRY_POINTS)
        try:
            _measure(setting, name, options, points, bytes_per_s)
        except Exception as error:
            if name == "default":
                raise
            traceback.print_exc()
            setting.figures.add(name, "failed", value=error_line(error))
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _measure(
    setting: Setting, name: str, options: dict[str, Any], points: Sequence[tuple[int, int]], bytes_per_s: float
) -> None:
    num_tokens = setting.choose(_TOKENS, _DRY_TOKENS)
    most_seqs, most_context = (max(values) for values in zip(*points, strict=True))
    config = setting.engine_config(
        batching="async",
        max_num_seqs=most_seqs,
        max_num_batched_tokens=setting.choose(2048, 64),
        max_model_len=most_context + 2 * num_tokens,
        num_blocks=setting.choose(_NUM_BLOCKS, 64),
        **options,
    )
    bench = EngineBench(setting, config)
    setting.figures.add(name, "build_s", value=bench.build_s)
    for num_seqs, context in points:
        key = f"{num_seqs} x {context}"
        prompts = random_prompts(f"steps/{context}", [context] * num_seqs, setting.shape.vocab_size)
        if (num_seqs + 1) * (context + num_tokens) > bench.ready.num_blocks * bench.ready.block_size:
            setting.figures.add(name, key, value={"skipped": "does not fit into the KV memory"})
            continue
        # Prefilled once. The prefix cache has each prompt's own pages from then on, so that the repeats, and smaller
        # batches of the same prompts, begin to decode at once.
        bench.serve(prompts, [1] * num_seqs, within_s=setting.left_s)
        measured = []
        for _ in range(_REPEATS):
            served = bench.serve(prompts, [num_tokens] * num_seqs, within_s=setting.left_s)
            if (found := decode_steps(served.steps, num_seqs)) is not None:
                measured.append(found)
        if not measured:
            setting.figures.add(name, key, value={"skipped": "no time was left for it"})
            return
        # The first token of the answer comes from the prompt; the steps counted are spread over the others.
        floor_s = step_floor_s(
            setting.shape,
            num_seqs,
            context + num_tokens / 2,
            bytes_per_s,
            bytes_per_number=setting.bytes_per_number,
        )
        setting.figures.add(name, key, value=_figures(num_seqs, measured, floor_s))


def _figures(num_seqs: int, measured: Sequence[DecodeSteps], floor_s: float) -> dict[str, Any]:
    period = spread([one.period_s * 1e3 for one in measured])
    return {
        "device_ms": spread([one.device_s * 1e3 for one in measured]),
        "period_ms": period,
        "floor_ms": floor_s * 1e3,
        "share_of_floor": floor_s * 1e3 / period["median"],
        "tokens_per_s": num_seqs / period["median"] * 1e3,
        "idle": spread([one.idle for one in measured]),
        "num_steps": sum(one.num_steps for one in measured),
    }
