"""Steps that serve no request: the largest, to see what memory it takes, and one of each kind, to warm up."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from ..attention.choose import choose_attention
from ..attention.kv_cache import KVCache
from ..attention.sdpa import SdpaBackend
from ..config import EngineConfig
from ..device.memory import graph_bytes, out_of_memory_says
from ..device.recorded_steps import GraphRecorder
from ..device.torch_runner import TorchRunner
from ..integers import ceil_div
from ..models.loader import LoadedModel
from ..request import Batch, Request, SamplingParams, ScheduledChunk
from ..scheduling.limits import SchedulerConfig
from ..timing.clock import RealClock

LESS_A_STEP = "lower --max-num-batched-tokens or --max-num-seqs"
FEWER_GRAPHS = "lower --max-num-seqs or --kv-memory, or give --no-cuda-graphs"


@dataclass(frozen=True, slots=True)
class TrialResult:
    """Bytes of device memory: of the largest step at its peak, and of all recorded steps.

    `gathered_share`: of all KV, what attention may hold a second time as contexts grow.
    """

    step_bytes: int
    graph_bytes: int
    gathered_share: float = 0.0


_SUPPRESSED = frozenset([0])
_SAMPLING = (
    SamplingParams(max_tokens=4, temperature=1.0),
    SamplingParams(max_tokens=4, temperature=1.0, top_p=0.9, top_k=20, seed=1),
    SamplingParams(max_tokens=4, temperature=0.0, presence_penalty=0.1, frequency_penalty=0.1),
    SamplingParams(max_tokens=4, temperature=0.0, logprobs=5),
    SamplingParams(max_tokens=4, min_tokens=3, temperature=0.0, suppressed_token_ids=_SUPPRESSED),
)
"""One of every way through the sampler."""

_EVERYTHING = SamplingParams(
    max_tokens=4,
    min_tokens=3,
    temperature=1.0,
    top_p=0.9,
    presence_penalty=0.1,
    suppressed_token_ids=_SUPPRESSED,
    logprobs=20,
)
"""The way that takes most memory."""

_GATHERED = 1.6
"""KV of a layer that the sdpa backend gathers, as a multiple of what is in its blocks."""

_PROMPTS = (64, 256, 1024, 1536)
"""Tokens of steps that are tried. Products of matrices are made by other code for other sizes."""


def largest_batch(limits: SchedulerConfig, block_size: int) -> Batch:
    """As many tokens and as many samples as one step can have, each sample drawn the most expensive way."""
    num_seqs = limits.max_num_seqs
    num_tokens = max(1, min(limits.max_num_batched_tokens // num_seqs, limits.max_model_len))
    num_blocks = ceil_div(num_tokens, block_size)
    chunks = []
    for index in range(num_seqs):
        request = Request(f"trial-{index}", [0] * num_tokens, _EVERYTHING, slot=index)
        request.block_ids = list(range(index * num_blocks, (index + 1) * num_blocks))
        chunks.append(ScheduledChunk(request, 0, num_tokens, True, 0))
    return Batch(chunks=chunks, num_tokens=num_seqs * num_tokens)


def warm_up_batches(limits: SchedulerConfig, block_size: int) -> Iterator[Batch]:
    """Steps of every kind, for whatever compiles, loads or is allocated when it is first used: it would stop the
    device in the middle of traffic. They write to the first KV block.

    The largest step first, so that all others find their memory in what it leaves; prompts of several sizes; then
    decodes of 1, 2, 4, ... sequences, as kernels are compiled for powers of two, alone and with a chunk beside them
    where the budget has room for it; then every way of sampling, alone and together.
    """

    def prompt(slot: int, num_tokens: int) -> ScheduledChunk:
        request = Request(f"warm-up-{slot}", [0] * num_tokens, _SAMPLING[0], slot=slot)
        request.block_ids = [0] * ceil_div(num_tokens, block_size)
        return ScheduledChunk(request, 0, num_tokens, True, 0)

    def decode(slot: int, sampling: SamplingParams) -> ScheduledChunk:
        request = Request(f"warm-up-{slot}", [0], sampling, slot=slot)
        request.token_ids.append(0)
        request.block_ids = [0] * ceil_div(2, block_size)
        return ScheduledChunk(request, 1, 2, True, 0)

    most_tokens, most_seqs = limits.max_num_batched_tokens, limits.max_num_seqs
    largest = largest_batch(limits, block_size)
    for chunk in largest.chunks:
        chunk.request.block_ids = [0] * len(chunk.request.block_ids)
    yield largest
    for num_tokens in _PROMPTS:
        lengths = _cut(min(num_tokens, most_tokens), limits.max_model_len)
        yield _batch([prompt(slot, length) for slot, length in enumerate(lengths[:most_seqs])])
    longest = min(most_tokens, limits.max_model_len, 16)
    counts = [1 << power for power in range((most_seqs - 1).bit_length())]
    for count in [*counts, most_seqs]:
        decodes = [decode(slot, _SAMPLING[slot % len(_SAMPLING)]) for slot in range(count)]
        yield _batch(decodes)
        room = min(most_tokens - count, longest)
        if count < most_seqs and room > 1:
            yield _batch([*decodes, prompt(count, room)])
    for sampling in [*_SAMPLING, _EVERYTHING]:
        yield _batch([decode(slot, sampling) for slot in range(min(2, most_seqs))])


def _batch(chunks: list[ScheduledChunk]) -> Batch:
    num_decodes = sum(chunk.start > 0 for chunk in chunks)
    return Batch(chunks=chunks, num_tokens=sum(chunk.num_tokens for chunk in chunks), num_decode_tokens=num_decodes)


def _cut(num_tokens: int, most: int) -> list[int]:
    """`num_tokens` tokens in pieces of at most `most`."""
    return [min(most, num_tokens - start) for start in range(0, num_tokens, most)]


def try_out(config: EngineConfig, limits: SchedulerConfig, model: LoadedModel) -> TrialResult:
    """Run the largest step, and record the two largest that are recorded, on a CUDA device.

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
            num_slots=limits.num_slots + 1,
            max_num_pages=num_blocks,
            softcap=model.softcap,
        )
        runner = TorchRunner(
            model,
            attention,
            num_slots=limits.num_slots,
            clock=RealClock().time,
            record=GraphRecorder() if config.cuda_graphs else None,
            max_num_seqs=limits.max_num_seqs,
            max_num_batched_tokens=limits.max_num_batched_tokens,
        )
        before_bytes = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        runner.launch(batch).collect()
        step_bytes = torch.cuda.max_memory_allocated() - before_bytes
    recorded = _recorded_bytes(runner)
    # Of one layer at a time, with room to grow, and padded to the longest of those that are attended to together.
    gathered_share = _GATHERED / model.kv_shape.num_layers if isinstance(attention, SdpaBackend) else 0.0
    del runner, attention, cache
    gc.collect()
    torch.cuda.empty_cache()
    return TrialResult(step_bytes, recorded, gathered_share)


def _recorded_bytes(runner: TorchRunner) -> int:
    if not runner.shapes:
        return 0
    taken = []
    with out_of_memory_says("CUDA graphs", FEWER_GRAPHS):
        for shape in runner.shapes[:2]:
            torch.cuda.empty_cache()
            free_bytes, _ = torch.cuda.mem_get_info()
            runner.record(shape)
            torch.cuda.empty_cache()
            taken.append(free_bytes - torch.cuda.mem_get_info()[0])
    return graph_bytes(taken[0], taken[-1], len(runner.shapes))
