"""Times of steps as a function of their work, fitted to steps that were measured."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from msgspec.structs import replace

from .least_squares import non_negative_least_squares
from .measured_steps import MeasuredSteps
from .model_shape import ModelShape
from .step_work import StepWork

_WELL_BEYOND = 1.25


class MeasuredStep(NamedTuple):
    """A step that was measured: its kind in words, its work, its seconds."""

    name: str
    work: StepWork
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StepsOf:
    """What steps were measured of. See `MeasuredSteps`."""

    model: ModelShape
    dtype: str
    version: str
    attention: str
    is_synchronous: bool


def fit_steps(steps: Sequence[MeasuredStep], of: StepsOf) -> MeasuredSteps:
    """Times that are nearest to those measured, in relative terms, and that no more work makes shorter.

    Both lines have points at the powers of two that were measured: steps in between say how the lines share the time.
    Least squares over the slopes between the points, none of them negative, with every step weighted by its own time.

    Raises:
        ValueError: there is no step, or one took no time.
    """
    if not steps or min(step.seconds for step in steps) <= 0:
        raise ValueError("steps must take time")
    token_counts = _points([step.work.num_tokens for step in steps])
    sample_counts = _points([0, *(step.work.num_samples for step in steps)])
    rows = [
        [
            1.0,
            *_along(step.work.num_tokens, token_counts),
            *_along(step.work.num_samples, sample_counts),
            step.work.num_context_tokens,
            step.work.num_pairs,
        ]
        for step in steps
    ]
    weighted = [[value / step.seconds for value in row] for row, step in zip(rows, steps, strict=True)]
    found = non_negative_least_squares(weighted, [1.0] * len(steps))
    base_s, slopes = found[0], found[1:-2]
    num_slopes = len(token_counts) - 1
    fitted = MeasuredSteps(
        model=of.model,
        dtype=of.dtype,
        version=of.version,
        attention=of.attention,
        is_synchronous=of.is_synchronous,
        token_s=_line(token_counts, base_s, slopes[:num_slopes]),
        sample_s=_line(sample_counts, 0.0, slopes[num_slopes:]),
        context_token_s=found[-2],
        pair_s=found[-1],
    )
    errors = [abs(fitted.seconds(step.work) / step.seconds - 1) for step in steps]
    return replace(fitted, median_error=statistics.median(errors), largest_error=max(errors))


def _points(counts: Collection[int]) -> list[int]:
    """The least count, the powers of two, and the largest where it is well beyond those."""
    powers = [count for count in counts if count & (count - 1) == 0]
    largest = max(counts)
    ends = [largest] if largest >= _WELL_BEYOND * max(powers, default=0) else []
    return sorted({min(counts), *powers, *ends})


def _along(count: int, counts: Sequence[int]) -> list[float]:
    """How far `count` has come between each two neighbours of `counts`; the last of them have no end."""
    return [
        float(max(count - low, 0) if high == counts[-1] else min(max(count - low, 0), high - low))
        for low, high in pairwise(counts)
    ]


def _line(counts: Sequence[int], first_s: float, slopes: Sequence[float]) -> list[tuple[int, float]]:
    points, seconds = [(counts[0], first_s)], first_s
    for (low, high), slope in zip(pairwise(counts), slopes, strict=True):
        seconds += slope * (high - low)
        points.append((high, seconds))
    return points
