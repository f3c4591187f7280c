"""Whether a run was one thing throughout: a percentile of latencies that grow all the time describes no moment of it.

On a queue at 1.2 times its capacity p50 and p99 grow together. Their ratio stays small and says nothing.
"""

from __future__ import annotations

from ..formatting import duration
from ..recording.latency_trend import GROWTH, LatencyTrend
from .finding import Finding, Label, Tone
from .summary import Summary

_MORE_THAN_WORK = 1.5
"""A step takes longer for longer contexts, and for more of them at once: both grow as sessions build up."""
_KEPT_UP = 0.95
"""Of the requests that were due: a server that finishes fewer, while latencies grow, is falling behind."""
_MOST_HELD = 0.05
"""Of the requests: with more of them waiting for a place of --max-in-flight, the limit may be the reason."""
_NAMES = {"ttft": "TTFT", "itl": "the gap between tokens"}


def is_explained_by_work(trend: LatencyTrend) -> bool:
    """Whether the requests grew, and latencies hardly more than they."""
    growth = trend.last_ms / trend.first_ms
    return trend.work_growth >= GROWTH and growth < _MORE_THAN_WORK * trend.work_growth


def steadiness_doubts(summary: Summary) -> list[Finding]:
    """That the server did not keep up, or that something else grew all through the run; empty if neither is seen."""
    trend = summary.trend
    if trend is None:
        return []
    is_behind = _is_behind(summary)
    is_explained = is_explained_by_work(trend)
    if is_explained and not is_behind:
        return []
    steady = summary.steady_state
    has_backlog = steady is not None and not steady.is_steady
    words = grown_in_words(trend)
    numbers = {"first_ms": trend.first_ms, "last_ms": trend.last_ms}
    if not has_backlog and not is_behind:
        words += (
            ", though as many requests were finished as were due, so p99 and ratios describe no single moment. Look "
            "for what grows on the server, or warm up for longer (--warmup)"
        )
        return [Finding(label=Label.NOT_STEADY, tone=Tone.BAD, words=words, numbers=numbers)]
    held = summary.held_requests > _MOST_HELD * summary.requests
    words = f"the server did not keep up{' at so few requests at once (--max-in-flight)' if held else ''}: {words}"
    if is_behind:
        words += f", and {_finished_in_words(summary)}"
    if has_backlog and steady is not None:
        words += f"; requests in flight grew from {steady.first_half:.0f} to {steady.second_half:.0f}"
    words += ". How bad p99 is depends on how long you measure: "
    words += (
        "raise --max-in-flight, or lower the rate" if held else "lower the rate (--sweep finds the highest that holds)"
    )
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
        words = f"requests in flight grew from {steady.first_half:.0f} to {steady.second_half:.0f}"
        if _is_behind(summary):
            words += f", and {_finished_in_words(summary)}: the server may not keep up, or the run is too short for its"
        else:
            words += ", though the server kept up: the run is probably too short for its"
        notes.append(f"{words} sessions (--duration, --warmup)")
    return notes


def _is_behind(summary: Summary) -> bool:
    return summary.achieved_rate < _KEPT_UP * summary.offered_rate


def _finished_in_words(summary: Summary) -> str:
    return f"{summary.achieved_rate:.3g} of {summary.offered_rate:.3g} requests/s were finished"
