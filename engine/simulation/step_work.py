"""What a step has to compute, in the counts that its time depends on."""

from __future__ import annotations

from typing import NamedTuple

from ..request import Batch
from .model_shape import ModelShape


class StepWork(NamedTuple):
    """The work of one step.

    Attributes:
        num_tokens: Tokens that go through the layers.
        num_samples: Positions that the output head is for.
        num_context_tokens: Tokens of KV read, summed over sequences.
        num_pairs: (query, key) pairs of attention.
    """

    num_tokens: int
    num_samples: int
    num_context_tokens: float
    num_pairs: float


def work_of(batch: Batch, shape: ModelShape) -> StepWork:
    """The work of a batch. Of layers that look back over a window and others, context and pairs are averages."""
    context: float = sum([chunk[2] for chunk in batch.chunks])  # by index: this runs for every token
    pairs = context
    if shape.num_sliding_layers:
        context, pairs = _windowed(batch, shape)
    elif batch.num_tokens > len(batch.chunks):
        pairs = sum([(end - start) * (start + 1 + end) / 2 for _, start, end, _, _ in batch.chunks])
    return StepWork(batch.num_tokens, sum([chunk[3] for chunk in batch.chunks]), context, pairs)


def _windowed(batch: Batch, shape: ModelShape) -> tuple[float, float]:
    share, window = shape.num_sliding_layers / shape.num_layers, shape.sliding_window
    context = pairs = 0.0
    for _, start, end, _, _ in batch.chunks:
        num_tokens = end - start
        seen = min(end, num_tokens + window)
        context += share * seen + (1 - share) * end
        near = min((start + 1 + end) / 2, window)
        pairs += num_tokens * (share * near + (1 - share) * (start + 1 + end) / 2)
    return context, pairs
