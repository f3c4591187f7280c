"""How the tokens that decodes leave of a step's budget are shared among prompts."""

from __future__ import annotations

from collections.abc import Sequence

from ..integers import ceil_div
from ..request import Batch, Request, ScheduledChunk


def add_prefills(batch: Batch, prefills: Sequence[Request], max_num_tokens: int) -> None:
    """Fill a batch up: half for the oldest prefill, half for the shortest of the others.

    By arrival alone, one long prompt would hold up every short one behind it; by length alone, the short ones would
    starve the long one. The oldest always advances, and every request becomes the oldest.

    Args:
        batch: The step, with its decodes.
        prefills: At least one request whose prompt is not computed yet, the oldest first.
        max_num_tokens: Tokens the step may have in all.
    """
    oldest, *others = prefills
    budget = max_num_tokens - batch.num_tokens
    budget_of_others = budget - min(oldest.num_uncomputed, ceil_div(budget, 2))
    for request in sorted(others, key=lambda request: request.num_uncomputed):
        num_tokens = min(budget_of_others, request.num_uncomputed)
        if num_tokens > 0:
            _add_chunk(batch, request, num_tokens)
            budget_of_others -= num_tokens
    budget = max_num_tokens - batch.num_tokens
    if budget > 0:
        _add_chunk(batch, oldest, min(budget, oldest.num_uncomputed))


def _add_chunk(batch: Batch, request: Request, num_tokens: int) -> None:
    start = request.num_computed
    end = start + num_tokens
    samples = end == request.num_tokens
    batch.chunks.append(ScheduledChunk(request, start, end, samples, request.epoch))
    batch.num_tokens += num_tokens
    request.num_computed = end
    request.num_in_flight += samples
    request.last_step = batch.step
