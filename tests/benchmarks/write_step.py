"""What the host needs to write the inputs of a recorded step: its work for a step besides planning and launching it.

    python tests/benchmarks/write_step.py

Needs Triton, but no GPU. Nothing else should run meanwhile.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from statistics import quantiles

from abatch.engine.integers import ceil_div

os.environ["TRITON_INTERPRET"] = "1"  # without a device it will not be made, and nothing here runs a kernel

import torch
from abatch.engine.attention.kv_cache import KVCache, KVShape
from abatch.engine.attention.paged_triton import TritonBackend
from abatch.engine.device.recorded_steps import RecordedSteps
from abatch.engine.request import Batch, Request, SamplingParams, ScheduledChunk

_REPEATS = 300
_BLOCK_SIZE = 16
_CONTEXT = 1024
_LOADS: tuple[tuple[int, Sequence[int]], ...] = ((32, ()), (64, ()), (256, ()), (64, (448,)), (64, (28,) * 16))
"""Sequences in decode, and the tokens of each prompt beside them."""


def chunk(slot: int, start: int, end: int) -> ScheduledChunk:
    request = Request(str(slot), [1] * end, SamplingParams(max_tokens=9, temperature=1.0, top_p=0.9), slot=slot)
    request.block_ids = list(range(ceil_div(end, _BLOCK_SIZE)))
    return ScheduledChunk(request, start, end, True, 0)


def main() -> None:
    cache = KVCache(KVShape(1, 8, 128, 4), 256, _BLOCK_SIZE, dtype=torch.bfloat16, device=torch.device("cpu"))
    attention = TritonBackend(cache, num_slots=513, max_num_pages=512)
    steps = RecordedSteps(
        lambda *_: torch.empty(0),
        attention,
        torch.zeros(513, dtype=torch.long),
        max_num_seqs=256,
        max_num_batched_tokens=2048,
        record=lambda step: step,
    )
    print("| decodes | tokens of prompts | median us (p5-p95) |\n|---|---|---|")
    for num_decodes, prompts in _LOADS:
        chunks = [chunk(slot, _CONTEXT - 1, _CONTEXT) for slot in range(num_decodes)]
        chunks += [chunk(num_decodes + index, 0, length) for index, length in enumerate(prompts)]
        batch = Batch(chunks=chunks, num_tokens=num_decodes + sum(prompts), num_decode_tokens=num_decodes)
        times_us = []
        for _ in range(_REPEATS):
            began_s = time.perf_counter()
            written = steps.write(batch, lambda sampling: [0] * len(sampling))
            times_us.append((time.perf_counter() - began_s) * 1e6)
            assert written is not None
        cuts = quantiles(times_us, n=20)
        name = f"{len(prompts)} x {prompts[0]}" if prompts else "-"
        print(f"| {num_decodes} | {name} | {cuts[9]:.0f} ({cuts[0]:.0f}-{cuts[-1]:.0f}) |")


if __name__ == "__main__":
    main()
