"""What the steps of one model took on one device, as a profile keeps it."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from random import Random
from typing import Annotated

import msgspec

from .model_shape import ModelShape
from .step_work import StepWork

_LONGEST_S = 3600.0
_SHORTEST = 0.5
"""No step is drawn that takes less of its usual time."""
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**40)]
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=_LONGEST_S)]
Points = Annotated[list[tuple[_Count, _Seconds]], msgspec.Meta(min_length=1, max_length=1000)]
"""A line through points: a count, and the seconds at it. Between two points it is straight, beyond the last one as
steep as before it, and before the first one level."""


class MeasuredSteps(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Times of the steps of a model, measured through the engine that served it.

        seconds = token_s(tokens) + sample_s(samples) + context_token_s * context tokens + pair_s * (query, key) pairs

    Attributes:
        model: Whose steps they are. They say nothing about another model's.
        dtype: What it was computed in.
        version: Of abatch.
        attention: The attention backend.
        is_synchronous: Launching a step was the work itself, as on a CPU: the host waits meanwhile.
        token_s: Seconds by the tokens that go through the layers: what every step takes is in it.
        sample_s: Seconds by the positions that are sampled: the output head, the draw, and what a sequence costs.
        context_token_s: Seconds for a token of KV that is read.
        pair_s: Seconds for a (query, key) pair of attention.
        spread: How much longer steps of served traffic took, in seconds of a step that usually takes one second, as
            evenly spaced quantiles from the least to the largest. Of a step of s seconds it is sqrt(s) times as much:
            what disturbs it comes independently, now and then, so variances add up.
        largest_error: Of a measured step, relative to its time here; `median_error` likewise.
    """

    model: ModelShape
    dtype: str
    version: str
    attention: str
    is_synchronous: bool
    token_s: Points
    sample_s: Points
    context_token_s: _Seconds
    pair_s: _Seconds
    spread: Annotated[list[Annotated[float, msgspec.Meta(ge=-1000, le=1000)]], msgspec.Meta(max_length=1001)] = []
    median_error: float = 0.0
    largest_error: float = 0.0

    def __post_init__(self) -> None:
        for name in ("token_s", "sample_s"):
            counts = [count for count, _ in getattr(self, name)]
            if any(one >= after for one, after in pairwise(counts)):
                raise ValueError(f"the counts of {name} must rise")
        if self.spread != sorted(self.spread):
            raise ValueError("spread must rise")
        if self.dtype not in ("float32", "bfloat16", "float16"):
            raise ValueError("dtype must be float32, bfloat16 or float16")

    def seconds(self, work: StepWork) -> float:
        """Seconds that a step takes at its usual pace."""
        return (
            on_line(self.token_s, work.num_tokens)
            + on_line(self.sample_s, work.num_samples)
            + self.context_token_s * work.num_context_tokens
            + self.pair_s * work.num_pairs
        )

    def draw(self, usual_s: float, random: Random) -> float:
        """Seconds that one step takes which usually takes `usual_s`, drawn from the spread."""
        if not self.spread:
            return usual_s
        return max(_SHORTEST * usual_s, usual_s + math.sqrt(usual_s) * quantile(self.spread, random.random()))


def on_line(points: Sequence[tuple[int, float]], count: float) -> float:
    """The value at `count` of a line through points (see `Points`)."""
    after = bisect_right(points, (count, math.inf))
    if after == 0 or len(points) == 1:
        return points[0][1]
    after = min(after, len(points) - 1)
    (left, low), (right, high) = points[after - 1], points[after]
    return low + (high - low) * (count - left) / (right - left)


def quantile(ascending: Sequence[float], share: float) -> float:
    """The value below which this share of the values lies, straight between neighbours."""
    place = share * (len(ascending) - 1)
    low = min(int(place), len(ascending) - 1)
    high = min(low + 1, len(ascending) - 1)
    return ascending[low] + (ascending[high] - ascending[low]) * (place - low)
