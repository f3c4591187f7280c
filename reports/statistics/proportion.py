"""Shares of requests: how far they may be off."""

from __future__ import annotations

import math
from statistics import NormalDist

from .interval import CONFIDENCE, Interval

_DEVIATIONS = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


def share_interval(share: float, count: float, confidence: float = CONFIDENCE) -> Interval:
    """Where the true share lies, if each of the `count` is by itself (Wilson, 1927)."""
    deviations = NormalDist().inv_cdf((1 + confidence) / 2)
    z2 = deviations**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    reach = deviations / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count * count))
    return Interval(max(0.0, middle - reach), min(1.0, middle + reach))


def needed_for_none(bound: float) -> int:
    """How many requests without one of a kind show that their share is below the bound, above 0, at 95%."""
    return math.ceil(_DEVIATIONS**2 * (1 - bound) / bound)


def difference_interval(
    share: float, count: float, base_share: float, base_count: float, confidence: float = CONFIDENCE
) -> Interval:
    """Where the true difference of two shares lies (Newcombe, 1998, method 10)."""
    of, base = share_interval(share, count, confidence), share_interval(base_share, base_count, confidence)
    difference = share - base_share
    return Interval(
        difference - math.hypot(share - of.low, base.high - base_share),
        difference + math.hypot(of.high - share, base_share - base.low),
    )
