"""Steps put together by hand, past the scheduler: sequences with pages of their own, and chunks of them."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from abatch.engine.integers import ceil_div
from abatch.engine.request import Batch, Request, SamplingParams, ScheduledChunk

_GREEDY = SamplingParams(max_tokens=1, temperature=0.0)


class Sequences:
    """Sequences of random tokens in a runner that serves nobody else.

    Args:
        num_blocks: KV blocks there are. They are given out in no order, as after hours of service.
        block_size: Tokens in a KV block.
        vocab_size: Of the model.
        seed: Of the tokens and the order.
    """

    def __init__(self, num_blocks: int, block_size: int, vocab_size: int, seed: str) -> None:
        self._random = Random(seed)
        self._free = self._random.sample(range(num_blocks), num_blocks)
        self._block_size = block_size
        self._vocab_size = vocab_size
        self._num_slots = 0

    def new(self, num_tokens: int) -> Request:
        """One that has a slot, and pages for all of its tokens. Nothing of it is computed."""
        token_ids = [self._random.randrange(self._vocab_size) for _ in range(num_tokens)]
        request = Request(f"by-hand-{self._num_slots}", token_ids, _GREEDY, slot=self._num_slots)
        request.block_ids = [self._free.pop() for _ in range(ceil_div(num_tokens, self._block_size))]
        self._num_slots += 1
        return request


def last_token(request: Request) -> ScheduledChunk:
    """What a decode step computes of a sequence."""
    return chunk(request, len(request.token_ids) - 1, len(request.token_ids))


def chunk(request: Request, start: int, end: int) -> ScheduledChunk:
    """Tokens `[start, end)`; the sequence's last one samples."""
    return ScheduledChunk(request, start, end, end == len(request.token_ids), request.epoch)


def batch_of(chunks: Sequence[ScheduledChunk]) -> Batch:
    """One step of them, decodes first."""
    decodes = [one for one in chunks if one.num_tokens == 1]
    prompts = [one for one in chunks if one.num_tokens > 1]
    num_tokens = sum(one.num_tokens for one in chunks)
    return Batch(chunks=[*decodes, *prompts], num_tokens=num_tokens, num_decode_tokens=len(decodes))
