"""Steps that serve nobody: the largest, to see what it takes beside the weights, and one of each kind, to warm up."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from .attention.choose import choose_attention
from .attention.kv_cache import KVCache
from .clock import RealClock
from .config import EngineConfig, SchedulerConfig
from .decode_graphs import GraphRecorder
from .device_memory import graph_bytes, out_of_memory_says
from .model_loader import LoadedModel
from .request import Batch, Request, SamplingParams, ScheduledChunk
from .torch_runner import TorchRunner

LESS_A_STEP = "lower --max-num-batched-tokens or --max-num-seqs"
FEWER_GRAPHS = "lower --max-num-seqs or --kv-memory, or give --no-cuda-graphs"


@dataclass(frozen=True, slots=True)
class TrialResult:
    """Bytes of device memory: of the largest step at its peak, and of all recorded decode steps."""

    step_bytes: int
    graph_bytes: int


def largest_batch(limits: SchedulerConfig, block_size: int) -> Batch:
    """As many tokens and as many samples as one step can have, each sample drawn the most expensive way."""
    num_seqs = limits.max_num_seqs
    num_tokens = max(1, min(limits.max_num_batched_tokens // num_seqs, limits.max_model_len))
    num_blocks = -(-num_tokens // block_size)
    sampling = SamplingParams(max_tokens=1, temperature=1.0, top_p=0.9)
    chunks = []
    for index in range(num_seqs):
        request = Request(f"trial-{index}", [0] * num_tokens, sampling, slot=index)
        request.block_ids = list(range(index * num_blocks, (index + 1) * num_blocks))
        chunks.append(ScheduledChunk(request, 0, num_tokens, True, 0))
    return Batch(chunks=chunks, num_tokens=num_seqs * num_tokens)


def warm_up_batches(limits: SchedulerConfig, block_size: int) -> Iterator[Batch]:
    """Steps of every kind, for whatever compiles or loads when it is first used. They write to the first KV block.

    A chunk of a prompt; then decodes of 1, 2, 4, ... sequences, as kernels are compiled for powers of two, alone and
    with a chunk beside them where the budget has room for it. Half of them sample by more than a temperature.
    """
    plain = SamplingParams(max_tokens=2, temperature=1.0)
    fancy = SamplingParams(max_tokens=2, temperature=1.0, top_p=0.9)

    def chunk(slot: int, num_tokens: int) -> ScheduledChunk:
        request = Request(f"warm-up-{slot}", [0] * num_tokens, fancy if slot % 2 else plain, slot=slot)
        request.block_ids = [0] * -(-num_tokens // block_size)
        return ScheduledChunk(request, 0, num_tokens, True, 0)

    longest = min(limits.max_num_batched_tokens, limits.max_model_len, 16)
    yield Batch(chunks=[chunk(0, longest)], num_tokens=longest)
    counts = [1 << power for power in range((limits.max_num_seqs - 1).bit_length())]
    for count in [*counts, limits.max_num_seqs]:
        chunks = [chunk(slot, 1) for slot in range(count)]
        yield Batch(chunks=chunks, num_tokens=count, num_decode_tokens=count)
        room = min(limits.max_num_batched_tokens - count, longest)
        if count < limits.max_num_seqs and room > 1:
            mixed = [*chunks, chunk(count, room)]
            yield Batch(chunks=mixed, num_tokens=count + room, num_decode_tokens=count)


def try_out(config: EngineConfig, limits: SchedulerConfig, model: LoadedModel) -> TrialResult:
    """Run the largest step, and record the two largest decode steps, on a CUDA device.

    Raises:
        ConfigurationError: there is not even memory for this.
    """
    batch = largest_batch(limits, config.block_size)
    num_blocks = sum(len(chunk.request.block_ids) for chunk in batch.chunks)
    step = f"a step of {batch.num_tokens} tokens in {limits.max_num_seqs} sequences"
    with out_of_memory_says(step, LESS_A_STEP):
        cache = KVCache(model.kv_shape, num_blocks, config.block_size, dtype=model.dtype, device=model.device)
        attention = choose_attention(
            config.attention,
            cache,
            num_slots=limits.max_num_seqs + 1,
            max_num_pages=num_blocks,
            softcap=model.softcap,
        )
        runner = TorchRunner(
            model,
            attention,
            num_slots=limits.max_num_seqs,
            clock=RealClock().time,
            record=GraphRecorder() if config.cuda_graphs else None,
            max_num_seqs=limits.max_num_seqs,
        )
        before_bytes = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        runner.launch(batch).collect()
        step_bytes = torch.cuda.max_memory_allocated() - before_bytes
    recorded = _recorded_bytes(runner)
    del runner, attention, cache
    gc.collect()
    torch.cuda.empty_cache()
    return TrialResult(step_bytes, recorded)


def _recorded_bytes(runner: TorchRunner) -> int:
    if not runner.buckets:
        return 0
    taken = []
    with out_of_memory_says("CUDA graphs", FEWER_GRAPHS):
        for size in runner.buckets[:-3:-1]:
            torch.cuda.empty_cache()
            free_bytes, _ = torch.cuda.mem_get_info()
            runner.record(size)
            torch.cuda.empty_cache()
            taken.append(free_bytes - torch.cuda.mem_get_info()[0])
    return graph_bytes(taken[0], taken[-1], len(runner.buckets))
