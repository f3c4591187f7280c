"""Slowdowns of two targets: how many times longer requests take than each one's idle server needs for them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..recording.idle_model import IdleModel
from ..run.measurement import Measurement
from ..summary.doubts import doubt_of_metric
from ..summary.statistic import P50
from .change import Change, changes
from .difference import Difference, Floor, slowdown_difference

COMPARED_SLOWDOWNS = ("ttft", "e2e")


def slowdown_differences(
    first: Measurement, other: Measurement, confidence: float, floor: Floor, *, is_paired: bool, is_trusted: bool
) -> Iterator[Difference]:
    """The difference of each median slowdown that both have, if both idle servers were probed.

    Args:
        first: The target that the other is compared with.
        other: As many rounds, if paired.
        confidence: Of each interval by itself.
        floor: Differences too small to matter.
        is_paired: Whether both got the same traffic.
        is_trusted: Whether nothing speaks against comparing them.
    """
    pair, traffic_class = (first, other), first.summary.verdict_class
    if not all(one.summary.idle is not None and one.summary.idle.is_probed for one in pair):
        return
    for metric in COMPARED_SLOWDOWNS:
        measured = [one.summary.slowdown.get(metric, {}).get(traffic_class) for one in pair]
        if measured[0] is None or measured[1] is None:
            continue
        (change,) = changes(
            first.slowdown_blocks(metric, traffic_class),
            other.slowdown_blocks(metric, traffic_class),
            (P50.of_distribution,),
            is_paired=is_paired,
        )
        is_fit = is_trusted and not any(doubt_of_metric(one.summary, metric, traffic_class) for one in pair)
        yield slowdown_difference(
            metric,
            (measured[0], measured[1]),
            None if change is None else _with_probes(change, pair),
            confidence,
            floor,
            is_trusted=is_fit,
        )


def _with_probes(change: Change, pair: Sequence[Measurement]) -> Change | None:
    """With the noise of the probes, which all requests of a round share and no stretch of it shows; None if unknown."""
    errors = [
        0.0 if one.summary.simulated else probe_error([reader.config.idle for reader in one.rounds]) for one in pair
    ]
    if any(error is None for error in errors):
        return None
    return replace(change, error=math.hypot(change.error, *(error or 0.0 for error in errors)))


def probe_error(rounds: Sequence[IdleModel | None]) -> float | None:
    """Standard error of the logarithm of what the work takes; None if no size was probed twice.

    From how far apart requests of one size were, over the square root of how many there were: rather too much where
    noise only ever adds time, and enough where it takes some away too.
    """
    squares = []
    for idle in rounds:
        if idle is None or (per_size := idle.requests / len(idle.points)) < 2:
            return None
        squares.append(math.log1p(idle.spread) ** 2 / per_size)
    return math.sqrt(sum(squares)) / len(squares) if squares else None
