"""Goodput of two targets: the share of requests that met all objectives."""

from __future__ import annotations

from ..statistics.proportion import difference_interval
from ..summary.summary import independent_of_goodput, independent_of_pair
from .difference import GOODPUT, Difference, Verdict
from .pair import Look, Pair


def goodput_difference(pair: Pair, look: Look) -> Difference | None:
    """The difference in points; None where it was not counted, or by other objectives. More is better.

    A share has no logarithm and a run one value of it, so the interval is that of two shares, each of as many requests
    as are independent: those that miss their objectives together are one event.
    """
    summaries = [one.summary for one in pair.both]
    first, other = (summary.goodput for summary in summaries)
    if first is None or other is None or first.objectives != other.objectives:
        return None
    counts = independent_of_pair(independent_of_goodput, *summaries)
    interval = difference_interval(other.share, counts[1], first.share, counts[0], look.confidence)
    change, least = other.share - first.share, look.floor.share
    if not pair.is_trusted:
        verdict = Verdict.UNTRUSTED
    elif interval.low > 0 and change >= least:
        verdict = Verdict.BETTER
    elif interval.high < 0 and change <= -least:
        verdict = Verdict.WORSE
    else:
        is_small = -least < interval.low and interval.high < least
        verdict = Verdict.SAME if is_small else Verdict.INCONCLUSIVE
    return Difference(
        metric=GOODPUT,
        statistic="",
        first=first.share,
        other=other.share,
        verdict=verdict,
        change=round(change, 6),
        low=round(interval.low, 6),
        high=round(interval.high, 6),
    )
