"""What attribution found: part of summary.json."""

from __future__ import annotations

import msgspec

from .cause import Cause
from .stalls import Stall


class CauseShare(msgspec.Struct, kw_only=True):
    """How much of a tail a cause explains.

    Attributes:
        share: Of the tail events looked into.
        base_rate: Of ordinary waits, how many the same rule would blame on it.
        excess: (share - base_rate) / (1 - base_rate): what it explains beyond chance.
    """

    cause: Cause
    share: float
    base_rate: float
    excess: float
    events: int


class TailCauses(msgspec.Struct, kw_only=True):
    """Why one metric has its tail.

    Attributes:
        events: Waits above `threshold_ms`, three medians; `examined`: how many of them were looked into.
        exact: Of these, by the engine's step log; the others by what a client can see.
        causes: The largest share first.
        likely: Those that stand out from their base rate.
    """

    threshold_ms: float
    events: int
    examined: int
    exact: int = 0
    causes: list[CauseShare] = []
    likely: list[Cause] = []


class Attribution(msgspec.Struct, kw_only=True):
    """Causes by metric (`itl`, `ttft`), and the moments at which many streams stood still at once."""

    causes: dict[str, TailCauses] = {}
    stalls: list[Stall] = []
    advice: list[str] = []
