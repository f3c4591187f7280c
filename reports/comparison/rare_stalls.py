"""Stalls of one target and of another: too rare for percentiles, and still counted."""

from __future__ import annotations

from ..formatting import counted
from ..run.measurement import Measurement
from ..statistics.rare_events import chance_of_split
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
    share = lengths_s[0] / max(sum(lengths_s), 1e-9)
    chance = chance_of_split([1] * stalls[0], [1] * stalls[1], share=share)
    which = "the first" if stalls[0] >= stalls[1] else "this one"
    difference = f"{which} does so more often" if chance < _UNLIKELY else "that may be chance"
    return (
        f"servers that made no progress: the first {counted(stalls[0], 'time')}, this one "
        f"{counted(stalls[1], 'time')}; {difference} (p = {chance:.2g})"
    )


def _num_stalls(one: Measurement) -> int:
    return sum(
        stall.cause is Cause.STALL
        for summary in one.round_summaries
        if summary.attribution is not None
        for stall in summary.attribution.stalls
    )
