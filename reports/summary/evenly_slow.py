"""The run in which everybody waits: a ratio of p99 to the median does not see it, the slowdown does."""

from __future__ import annotations

from collections.abc import Mapping

from ..formatting import duration, factor, interval_in_words
from ..recording.recorder import ALL
from .finding import Finding, Label, Tone
from .metric import MetricSummary
from .slowdown import LEAST_FOR_MEDIAN, SlowdownSummary
from .state import State
from .summary import Summary

SLOW = 3.0
"""A median request that takes more than this many times its work is called slow."""
_TAIL_OF = {"ttft": "ttft", "e2e": "e2e", "tpot": "itl"}
"""By metric with a slowdown, the one whose verdict says whether some wait far longer than others."""


def evenly_slow(summary: Summary, measured: Mapping[str, MetricSummary]) -> Finding | None:
    """The finding that the median request of the verdict's class waits for much longer than its work takes.

    None where that is not certain, where the idle server was not probed, of metrics that cannot be judged, and of those
    whose tail is flagged: they are slow, and not evenly. An idle server may be slow by itself: of its answers the
    fastest of a size counts as the work, so a median must be that much further from it as the slowest was. `measured`:
    the judged metrics of the class.
    """
    if summary.idle is None or not summary.idle.is_probed:
        return None
    found = {}
    by_itself = 1 + summary.idle.spread
    for metric, judged in _TAIL_OF.items():
        slowdown = summary.slowdown.get(metric, {}).get(summary.verdict_class)
        is_uneven = judged not in measured or measured[judged].verdict is State.FLAGGED
        least = SLOW if metric == "tpot" else SLOW * by_itself
        if slowdown is not None and not is_uneven and _is_slow(slowdown, least, is_exact=summary.simulated):
            found[metric] = slowdown
    if not found:
        return None
    worst = max(found, key=lambda metric: found[metric].p50)
    return Finding(
        label=Label.EVENLY_SLOW,
        tone=Tone.BAD,
        words=_in_words(summary, worst, found[worst]),
        traffic_class=summary.verdict_class,
        numbers={f"{metric}_slowdown_p50": slowdown.p50 for metric, slowdown in found.items()},
    )


def slowdown_of(finding: Finding) -> float:
    """The largest median slowdown that an EVENLY SLOW finding names."""
    return max(finding.numbers.values())


def _is_slow(slowdown: SlowdownSummary, least: float, *, is_exact: bool) -> bool:
    """Whether a median is above the least that counts. `is_exact`: nothing about the run is random."""
    if slowdown.p50_interval is None:
        return is_exact and slowdown.count >= LEAST_FOR_MEDIAN and slowdown.p50 > least
    return min(slowdown.p50_interval.low, slowdown.p50) > least


def _in_words(summary: Summary, metric: str, slowdown: SlowdownSummary) -> str:
    name = summary.verdict_class
    of_class = "" if name == ALL else f" of class {name}"
    median_ms = summary.metrics[metric][name].p50_ms
    times = f"{slowdown.p50:.0f}x" if slowdown.p50 >= 10 else factor(slowdown.p50)
    words = {
        "ttft": f"waits {duration(median_ms)} for its first token, {times} what its work takes on the idle server",
        "tpot": f"takes {duration(median_ms)} for each further token, {times} what it takes on the idle server",
        "e2e": f"takes {duration(median_ms)}, {times} what its work takes on the idle server",
    }[metric]
    if slowdown.p50_interval is not None:
        words += f" ({interval_in_words(slowdown.p50_interval, factor)})"
    return f"your median request{of_class} {words}"
