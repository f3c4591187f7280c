"""Whether latencies grew all through a run, and whether the requests did."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence

import msgspec

from ...workloads.bounds import Amount, Number
from ..statistics.coarsen import in_parts
from ..statistics.log_buckets import quantile_us
from ..statistics.trend import rank_correlation

GROWTH = 1.25
"""Of the last quarter over the first."""
TRENDED = ("ttft", "itl")
_STRETCHES = 16
_FEWEST_STRETCHES = 12
_LEAST_OF_A_STRETCH = 5
_SHARES = (0.5, 0.9)
_CORRELATION = 0.7
"""Of sixteen values without a trend, one in a thousand has such a rank correlation with time."""


class LatencyTrend(msgspec.Struct, kw_only=True):
    """A percentile that grew from stretch to stretch of a run.

    Attributes:
        percentile: 50 or 90.
        first_ms: Its mean over the first quarter of the stretches; `last_ms`: over the last quarter.
        correlation: Spearman's, of the percentile with time.
        work_growth: The mean size of a prompt in the last quarter of the run, over that in the first.
    """

    metric: str
    percentile: Amount
    first_ms: Amount
    last_ms: Amount
    correlation: Number
    work_growth: Amount = 1.0


def find_trend(metric: str, blocks: Sequence[Counter[int]]) -> LatencyTrend | None:
    """The growth of a metric from one sixteenth of a run to the next; None if there is none, or too little to tell.

    Of queues at 0.9 of their capacity 4 in 100 runs of 1,000 requests seem to grow; at 1.2 times it all do
    (tests/benchmarks/steadiness.py).

    Args:
        metric: Its name.
        blocks: Its values by time, each counted by bucket (see `log_buckets`).
    """
    whole = _without_partial_ends(blocks)
    stretches = [sum(part, Counter[int]()) for part in in_parts(whole, min(_STRETCHES, len(whole)))]
    stretches = [stretch for stretch in stretches if stretch.total() >= _LEAST_OF_A_STRETCH]
    if len(stretches) < _FEWEST_STRETCHES:
        return None
    quarter = len(stretches) // 4
    for share in _SHARES:
        values = [quantile_us(stretch, share) / 1e3 for stretch in stretches]
        first_ms, last_ms = (statistics.fmean(part) for part in (values[:quarter], values[-quarter:]))
        correlation = rank_correlation(values)
        if correlation >= _CORRELATION and last_ms >= GROWTH * first_ms:
            return LatencyTrend(
                metric=metric,
                percentile=100 * share,
                first_ms=round(first_ms, 3),
                last_ms=round(last_ms, 3),
                correlation=round(correlation, 3),
            )
    return None


def _without_partial_ends(blocks: Sequence[Counter[int]]) -> Sequence[Counter[int]]:
    """Without a first or last block that the run covers only in part."""
    if len(blocks) < 2:
        return blocks
    least = statistics.median(block.total() for block in blocks) / 2
    return blocks[blocks[0].total() < least : len(blocks) - (blocks[-1].total() < least)]


def work_growth(requests: Sequence[tuple[float, float, float]]) -> float:
    """How much larger requests were in the last quarter of a run than in the first, on average.

    Sessions build up at the beginning of a run, and so do their contexts. What grows with them is no overload.

    Args:
        requests: When each was due, in seconds, its prompt's tokens, and how many it stands for; in any order.
            Without any, the answer is 1.
    """
    if not requests:
        return 1.0
    first_s, last_s = min(due_s for due_s, *_ in requests), max(due_s for due_s, *_ in requests)
    quarter_s = (last_s - first_s) / 4
    before = _mean([one[1:] for one in requests if one[0] <= first_s + quarter_s])
    after = _mean([one[1:] for one in requests if one[0] >= last_s - quarter_s])
    return after / before if before > 0 and after > 0 else 1.0


def _mean(weighted: Sequence[tuple[float, float]]) -> float:
    return sum(value * weight for value, weight in weighted) / sum(weight for _, weight in weighted)
