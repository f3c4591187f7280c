"""Whether a run was one thing throughout: a percentile of latencies that grow all the time describes no moment of it.

On a queue at 1.2 times its capacity p50 and p99 grow together. Their ratio stays small and says nothing.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

from ..formatting import duration
from ..statistics.log_buckets import quantile_us
from ..statistics.trend import rank_correlation
from .finding import Finding, Label, Tone

if TYPE_CHECKING:
    from .summary import Summary

_STRETCHES = 16
_FEWEST_STRETCHES = 12
_LEAST_OF_A_STRETCH = 5
_SHARES = (0.5, 0.9)
_CORRELATION = 0.7
"""Of sixteen values without a trend, one in a thousand has such a rank correlation with time."""
_GROWTH = 1.25
"""Of the last quarter over the first."""
_MORE_THAN_WORK = 1.5
"""A step takes longer for longer contexts, and for more of them at once: both grow as sessions build up."""
_KEPT_UP = 0.95
"""Of the requests that were due: a server that finishes fewer, while latencies grow, is falling behind."""
TRENDED = ("ttft", "itl")
_NAMES = {"ttft": "TTFT", "itl": "the gap between tokens"}


class LatencyTrend(msgspec.Struct, kw_only=True):
    """A percentile that grew from stretch to stretch of a run.

    Attributes:
        percentile: 50 or 90.
        first_ms: Its mean over the first quarter of the stretches; `last_ms`: over the last quarter.
        correlation: Spearman's, of the percentile with time.
        work_growth: The mean size of a prompt in the last quarter of the run, over that in the first.
    """

    metric: str
    percentile: float
    first_ms: float
    last_ms: float
    correlation: float
    work_growth: float = 1.0


def find_trend(metric: str, blocks: Sequence[Counter[int]]) -> LatencyTrend | None:
    """The growth of a metric from one sixteenth of a run to the next; None if there is none, or too little to tell.

    Of queues at up to 0.9 of their capacity fewer than 3 in 100 runs seem to grow; at 1.2 times it all do
    (tests/reports/test_steadiness.py).

    Args:
        metric: Its name.
        blocks: Its values by time, each counted by bucket (see `log_buckets`).
    """
    whole = _without_partial_ends(blocks)
    parts = min(_STRETCHES, len(whole))
    cuts = [len(whole) * part // parts for part in range(parts + 1)] if parts else []
    stretches = [sum(whole[low:high], Counter[int]()) for low, high in pairwise(cuts)]
    stretches = [stretch for stretch in stretches if stretch.total() >= _LEAST_OF_A_STRETCH]
    if len(stretches) < _FEWEST_STRETCHES:
        return None
    quarter = len(stretches) // 4
    for share in _SHARES:
        values = [quantile_us(stretch, share) / 1e3 for stretch in stretches]
        first_ms, last_ms = (statistics.fmean(part) for part in (values[:quarter], values[-quarter:]))
        correlation = rank_correlation(values)
        if correlation >= _CORRELATION and last_ms >= _GROWTH * first_ms:
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


def is_explained_by_work(trend: LatencyTrend) -> bool:
    """Whether the requests grew, and latencies hardly more than they."""
    growth = trend.last_ms / trend.first_ms
    return trend.work_growth >= _GROWTH and growth < _MORE_THAN_WORK * trend.work_growth


def steadiness_doubts(summary: Summary) -> list[Finding]:
    """That the server did not keep up, or that something else grew all through the run; empty if neither is seen."""
    trend = summary.trend
    if trend is None:
        return []
    is_behind = summary.achieved_rate < _KEPT_UP * summary.offered_rate
    is_explained = is_explained_by_work(trend)
    if is_explained and not is_behind:
        return []
    steady = summary.steady_state
    has_backlog = steady is not None and not steady.is_steady
    words = grown_in_words(trend)
    numbers = {"first_ms": trend.first_ms, "last_ms": trend.last_ms}
    if not has_backlog and not is_behind:
        words += (
            ", though as many requests were finished as were due: its p99 and ratios are of no one moment. Look for "
            "what grows, or warm up for longer (--warmup)"
        )
        return [Finding(label=Label.NOT_STEADY, tone=Tone.BAD, words=words, numbers=numbers)]
    words = f"the server did not keep up: {words}"
    if is_behind:
        words += f", and {summary.achieved_rate:.3g} of {summary.offered_rate:.3g} requests/s were finished"
    if has_backlog and steady is not None:
        words += f"; requests in flight grew from {steady.first_half:.0f} to {steady.second_half:.0f}"
    words += ". How bad p99 is depends on how long you measure: lower the rate (--sweep finds the highest that holds)"
    return [Finding(label=Label.OVERLOADED, tone=Tone.BAD, words=words, numbers=numbers)]


def grown_in_words(trend: LatencyTrend) -> str:
    """`p50 of TTFT grew from 22.1 ms in the first quarter of the run to 34.5 ms in the last`."""
    return (
        f"p{trend.percentile:g} of {_NAMES[trend.metric]} grew from {duration(trend.first_ms)} in the first quarter of "
        f"the run to {duration(trend.last_ms)} in the last"
    )


def growth_notes(summary: Summary) -> list[str]:
    """What grew over the run without being a reason for doubt: sessions that build up, and their contexts."""
    if steadiness_doubts(summary):
        return []
    notes = []
    if (trend := summary.trend) is not None:
        notes.append(
            f"{grown_in_words(trend)}; so did the prompts, {trend.work_growth:.1f}-fold, as sessions build up "
            "(--warmup leaves that out)"
        )
    steady = summary.steady_state
    if steady is not None and not steady.is_steady:
        notes.append(
            f"requests in flight grew from {steady.first_half:.0f} to {steady.second_half:.0f}, though the server kept "
            "up: the run is probably too short for its sessions (--duration, --warmup)"
        )
    return notes
