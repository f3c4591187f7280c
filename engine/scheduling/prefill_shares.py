"""How the tokens that decodes leave of a step's budget are shared among prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

from ..integers import ceil_div
from ..request import Batch, Request, ScheduledChunk

PromptTokens = Callable[[int, int], float]
"""Most tokens of prompts in a step, by its decodes and the requests with a prompt to compute."""


def unbounded(num_decodes: int, num_prompts: int) -> float:
    """Decodes wait as long as it takes."""
    return inf


def add_prefills(batch: Batch, prefills: Sequence[Request], max_num_tokens: int, most: float = inf) -> None:
    """Add to a batch's decodes: half of the room is for the oldest prompt, half for the shortest of the shorter ones.

    By arrival alone, one long prompt would hold up every short one behind it; by length alone, the short ones would
    starve the long one. The oldest always advances, and every request becomes the oldest. Prompts no shorter than the
    oldest wait for it: if both advanced, both would be done late.

    What decodes should not wait for in one step is spread evenly over as few as it takes.

    Args:
        batch: The step, with its decodes.
        prefills: At least one request whose prompt is not computed yet, the oldest first.
        max_num_tokens: Tokens the step may have in all.
        most: Tokens of prompts that it should have at most, at least 1.
    """
    oldest, *others = prefills
    budget = max_num_tokens - batch.num_tokens
    if most < budget:
        num_uncomputed = sum(request.num_uncomputed for request in prefills)
        budget = ceil_div(num_uncomputed, ceil_div(num_uncomputed, int(most)))
    end = batch.num_tokens + budget
    others.sort(key=lambda request: request.num_uncomputed)
    budget_of_others = budget - min(oldest.num_uncomputed, ceil_div(budget, 2))
    shorter = [request for request in others if request.num_uncomputed < oldest.num_uncomputed]
    for request in shorter:
        budget_of_others -= _add_chunk(batch, request, budget_of_others)
    _add_chunk(batch, oldest, end - batch.num_tokens)
    for request in others[len(shorter) :]:
        _add_chunk(batch, request, end - batch.num_tokens)


def _add_chunk(batch: Batch, request: Request, max_num_tokens: int) -> int:
    """Give a request up to so many tokens; returns how many."""
    num_tokens = min(max_num_tokens, request.num_uncomputed)
    if num_tokens <= 0:
        return 0
    start = request.num_computed
    end = start + num_tokens
    samples = end == request.num_tokens
    batch.chunks.append(ScheduledChunk(request, start, end, samples, request.epoch))
    batch.num_tokens += num_tokens
    request.num_computed = end
    request.num_in_flight += samples
    request.last_step = batch.step
    return num_tokens
