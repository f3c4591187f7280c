"""Whether a tail is late in a run that became slower and slower: overload, or a server that changed."""

from __future__ import annotations

from collections.abc import Sequence

from ..summary.causes import Cause, CauseShare
from ..summary.doubts import client_problems
from ..summary.steadiness import steadiness_doubts
from ..summary.summary import Summary
from .share import share_of
from .tail_events import TailEvent

_LEAST_EXCESS = 0.5


def drift(tail: Sequence[TailEvent], by_chance: Sequence[TailEvent], summary: Summary) -> CauseShare | None:
    """How much of a tail lies in the second half of a run that was not steady; None if it is no reason for it.

    Where the client fell behind, nobody knows whether the server did.

    Args:
        tail: Its events.
        by_chance: Their controls.
        summary: Of the run; whether it was steady.
    """
    if not by_chance or client_problems(summary) or not steadiness_doubts(summary):
        return None
    times = [event.start_s for event in by_chance]
    middle_s = (min(times) + max(times)) / 2
    count = sum(1 for event in tail if event.start_s >= middle_s)
    chance_count = sum(1 for at_s in times if at_s >= middle_s)
    share = share_of(Cause.DRIFT, count, len(tail), chance_count, len(by_chance))
    return share if share.excess >= _LEAST_EXCESS else None
