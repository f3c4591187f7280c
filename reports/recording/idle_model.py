"""What a request takes on a server that does nothing else: the price of its work."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import msgspec

from ...workloads.bounds import Amount, Count, Number

AS_FAST_AS = 256
"""Tokens of a prompt that may well take no longer than a single one. What follows is about proportional to size."""


@dataclass(frozen=True, slots=True)
class ProbedRequest:
    """A request to an idle server. `itl_ms`: for each token after the first; None where all came in one chunk."""

    prompt_tokens: int
    ttft_ms: float
    itl_ms: float | None


class IdlePoint(msgspec.Struct, frozen=True):
    """The fastest time to first token of the probed prompts of about this size."""

    prompt_tokens: Amount
    ttft_ms: Amount


class IdleModel(msgspec.Struct, kw_only=True, frozen=True):
    """What a request of a size takes while no other runs.

    Time to first token is read off `points`, with straight lines between them: a single line would be wrong at one end,
    because small prompts cost the same until the device is busy with them. Beyond the largest point it is proportional
    to size. A token of output takes `itl_base_ms`, and
    `itl_us_per_token` for each token of the context that it looks back on.

    Attributes:
        requests: How many requests it was made of.
        is_probed: Measured before the run, on the idle server. Else it is the run's own fastest requests, of which
            nobody knows whether they waited.
        points: In ascending order of both.
        spread: How far another request of the same size was above the fastest at most, as a share.
        largest_prompt: Tokens of the largest prompt that the traffic is known to have.
    """

    requests: Count
    is_probed: bool
    points: Annotated[list[IdlePoint], msgspec.Meta(min_length=1, max_length=1000)]
    itl_base_ms: Number
    itl_us_per_token: Number = 0.0
    spread: Amount = 0.0
    largest_prompt: Count = 0

    def __post_init__(self) -> None:
        if any(low.prompt_tokens >= high.prompt_tokens for low, high in pairwise(self.points)):
            raise ValueError("the points of an idle model ascend")

    def ttft_ms(self, prefill_tokens: float) -> float:
        """Time to first token of a prompt of which no cache has this many tokens."""
        points = self.points
        place = bisect_left(points, prefill_tokens, key=lambda point: point.prompt_tokens)
        if place == 0:
            return points[0].ttft_ms  # smaller ones were not probed: they may be faster, hardly by much
        if place == len(points):  # nor were larger ones: rather too long, so that no slowdown is made up
            largest = points[-1]
            return largest.ttft_ms * max(1.0, prefill_tokens / max(largest.prompt_tokens, AS_FAST_AS))
        low, high = points[place - 1 : place + 1]
        slope = (high.ttft_ms - low.ttft_ms) / (high.prompt_tokens - low.prompt_tokens)
        return low.ttft_ms + slope * (prefill_tokens - low.prompt_tokens)

    def itl_ms(self, prompt_tokens: float, output_tokens: float) -> float:
        """Time per token after the first, for a prompt and an answer of these lengths."""
        context = min(prompt_tokens + output_tokens / 2, _TELLING * self.points[-1].prompt_tokens)
        return self.itl_base_ms + self.itl_us_per_token * context / 1e3

    def decode_ms(self, prompt_tokens: float, output_tokens: int) -> float:
        """From the first token to the last."""
        return max(output_tokens - 1, 0) * self.itl_ms(prompt_tokens, output_tokens)


_SAME_SIZE = 1.4
"""Prompts that differ by less than this factor are of one size: the server counts tokens in its own way."""
_TELLING = 4.0
"""Contexts have to differ by this factor to say what a token of them costs, and it is believed up to as much more."""


def fit_idle(requests: Sequence[ProbedRequest], *, largest_prompt: int = 0) -> IdleModel | None:
    """The model of what was probed; None if nothing was.

    Of each size the fastest counts: whatever else happens on a machine only ever adds time.
    """
    if not requests:
        return None
    sizes = _by_size(requests)
    points: list[IdlePoint] = []
    for same in sizes:
        fastest_ms = min(request.ttft_ms for request in same)
        tokens = sum(request.prompt_tokens for request in same) / len(same)
        while points and points[-1].ttft_ms > fastest_ms:  # no larger prompt is faster: the smaller one was disturbed
            points.pop()
        points.append(IdlePoint(round(tokens, 1), round(fastest_ms, 4)))
    base_ms, slope = _line(
        [
            (float(same[0].prompt_tokens), min(gaps_ms))
            for same in sizes
            if (gaps_ms := [request.itl_ms for request in same if request.itl_ms is not None])
        ]
    )
    fastest = {id(request): min(other.ttft_ms for other in same) for same in sizes for request in same}
    return IdleModel(
        requests=len(requests),
        is_probed=True,
        points=points,
        itl_base_ms=round(base_ms, 4),
        itl_us_per_token=round(slope * 1e3, 6),
        spread=round(max(request.ttft_ms / fastest[id(request)] for request in requests) - 1, 4),
        largest_prompt=max(largest_prompt, *(request.prompt_tokens for request in requests)),
    )


def _by_size(requests: Sequence[ProbedRequest]) -> list[list[ProbedRequest]]:
    """In groups of one size, the smallest first."""
    groups: defaultdict[int, list[ProbedRequest]] = defaultdict(list)
    first = 0
    for request in sorted(requests, key=lambda request: request.prompt_tokens):
        if not first or request.prompt_tokens > first * _SAME_SIZE:
            first = request.prompt_tokens
        groups[first].append(request)
    return list(groups.values())


def _line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The line through points by least squares: its value at 0 and its slope, neither of them negative.

    Points are (size, time), the smallest size first. Where sizes hardly differ it is level, at the least time.
    """
    if not points:
        return 0.0, 0.0
    if points[-1][0] < _TELLING * points[0][0]:
        return min(time for _, time in points), 0.0
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
    if slope < 0 or mean_y - slope * mean_x < 0:
        return mean_y, 0.0
    return mean_y - slope * mean_x, slope
