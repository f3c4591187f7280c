"""How long a decode step takes, by batch size and context, against the least it can take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.gpu import machine
from benchmarks.gpu.driving import DecodeSteps, EngineBench, decode_steps, random_prompts
from benchmarks.gpu.floor import step_floor_s
from benchmarks.gpu.setting import Setting, spread

_POINTS = [(32, 1024), (128, 1024), (1, 1024), (256, 1024), (32, 8192)]
"""(requests, context); what matters most comes first."""
_DRY_POINTS = [(2, 32), (1, 32)]
_KV_TOKENS, _DRY_KV_TOKENS = 327_680, 1024
"""43 GB for this model, which fits beside it into 80 GB."""
_TOKENS, _DRY_TOKENS = 64, 12
_REPEATS = 3
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "nofusion": {"fusion": False},
    "nograph": {"cuda_graphs": False},
    "sdpa": {"attention": "sdpa"},
    "compile": {"compile": True},
}


def run(setting: Setting, variant: str) -> None:
    """The machine, unless it is known; then all points, by the engine as it is or with a part taken away or added."""
    figures = setting.figures.within("steps", variant)
    is_known = setting.known("machine") is not None
    bytes_per_s = machine.bandwidth(setting) if is_known else machine.run(setting.within("machine"))
    points = setting.choose(_POINTS, _DRY_POINTS)
    num_tokens = setting.choose(_TOKENS, _DRY_TOKENS)
    most_seqs, most_context = (max(values) for values in zip(*points, strict=True))
    config = setting.engine_config(
        num_kv_tokens=setting.choose(_KV_TOKENS, _DRY_KV_TOKENS),
        batching="async",
        max_num_seqs=most_seqs,
        max_num_batched_tokens=setting.choose(2048, 64),
        max_model_len=most_context + 2 * num_tokens,
        **VARIANTS[variant],
    )
    bench = EngineBench(setting, config)
    figures.add("build_s", value=bench.build_s)
    for num_seqs, context in points:
        key = f"{num_seqs} x {context}"
        prompts = random_prompts(f"steps/{context}", [context] * num_seqs, setting.shape.vocab_size)
        if (num_seqs + 1) * (context + num_tokens) > bench.ready.num_blocks * bench.ready.block_size:
            figures.add(key, value={"skipped": "does not fit into the KV memory"})
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
            figures.add(key, value={"skipped": "no time was left for it"})
            return
        # The first token of the answer comes from the prompt; the steps counted are spread over the others.
        floor_s = step_floor_s(
            setting.shape,
            num_seqs,
            context + num_tokens / 2,
            bytes_per_s,
            bytes_per_number=setting.bytes_per_number,
        )
        figures.add(key, value=_figures(num_seqs, measured, floor_s))


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
