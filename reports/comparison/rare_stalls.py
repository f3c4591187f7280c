"""Stalls of one target and of another: too rare for percentiles, and still counted."""

from __future__ import annotations

import math

from ..formatting import counted
from ..run.measurement import Measurement
from ..summary.causes import Cause

_UNLIKELY = 0.05


def stalls_in_words(first: Measurement, other: Measurement) -> str | None:
    """How often each server made no progress, and whether that differs; None if neither ever did.

    Of simulated devices nothing is said: nothing about them is random.
    """
    stalls = [_num_stalls(one) for one in (first, other)]
    if not any(stalls) or first.summary.simulated:
        return None
    lengths_s = [one.summary.measured_s for one in (first, other)]
    chance = chance_of(stalls[0], stalls[1], share=lengths_s[0] / max(sum(lengths_s), 1e-9))
    which = "the first" if stalls[0] >= stalls[1] else "this one"
    difference = f"{which} does so more often" if chance < _UNLIKELY else "that may be chance"
    return (
        f"servers that made no progress: the first {counted(stalls[0], 'time')}, this one "
        f"{counted(stalls[1], 'time')}; {difference} (p = {chance:.2g})"
    )


def chance_of(first: int, other: int, *, share: float = 0.5) -> float:
    """How likely counts at least as unequal are if both stall at one rate: the exact two-sided binomial test.

    `share`: of the time measured, the first's.
    """
    total = first + other
    likely = [math.comb(total, count) * share**count * (1 - share) ** (total - count) for count in range(total + 1)]
    return min(1.0, sum(one for one in likely if one <= likely[first] * (1 + 1e-9)))


def _num_stalls(one: Measurement) -> int:
    return sum(
        stall.cause is Cause.STALL
        for summary in one.round_summaries
        if summary.attribution is not None
        for stall in summary.attribution.stalls
    )
