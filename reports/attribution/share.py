"""The share of a cause in a tail, against chance."""

from __future__ import annotations

from ..summary.causes import Cause, CauseShare


def share_of(cause: Cause, count: int, total: int, chance_count: int, chance_total: int) -> CauseShare:
    """A cause of `count` out of `total` events of a tail, and of `chance_count` out of `chance_total` controls."""
    share, base_rate = count / total, chance_count / max(chance_total, 1)
    excess = (share - base_rate) / (1 - base_rate) if base_rate < 1 else 0.0
    return CauseShare(
        cause=cause,
        share=round(share, 4),
        base_rate=round(base_rate, 4),
        excess=round(max(0.0, excess), 4) if cause is not Cause.UNKNOWN else 0.0,
        events=count,
    )
