"""Slowdowns of two targets: how many times longer requests take than each one's idle server needs for them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..recording.idle_model import IdleModel
from ..run.measurement import Measurement
from ..summary.statistic import P50
from .change import Change, changes
from .difference import Difference, slowdown_difference
from .pair import Look, Pair

COMPARED_SLOWDOWNS = ("ttft", "e2e")


def slowdown_differences(pair: Pair, look: Look) -> Iterator[Difference]:
    """The difference of each median slowdown that both have, if both idle servers were probed."""
    both, traffic_class = pair.both, pair.traffic_class
    if not all(one.summary.idle is not None and one.summary.idle.is_probed for one in both):
        return
    for metric in COMPARED_SLOWDOWNS:
        measured = [one.summary.slowdown.get(metric, {}).get(traffic_class) for one in both]
        if measured[0] is None or measured[1] is None:
            continue
        first, other = (one.slowdown_blocks(metric, traffic_class) for one in both)
        (change,) = changes(first, other, (P50.of_distribution,), is_paired=pair.is_paired)
        yield slowdown_difference(
            metric,
            (measured[0], measured[1]),
            None if change is None else _with_probes(change, both),
            look.confidence,
            look.floor,
            is_trusted=pair.is_fit(metric),
        )


def _with_probes(change: Change, both: Sequence[Measurement]) -> Change | None:
    """With the noise of the probes, which all requests of a round share and no stretch of it shows; None if unknown."""
    errors = [
        0.0 if one.summary.simulated else probe_error([reader.config.idle for reader in one.rounds]) for one in both
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
