"""Whether uneven request sizes explain a tail."""

from __future__ import annotations

from ..summary.causes import Cause
from ..summary.metric import MetricSummary
from ..summary.state import FLAG_RATIO, State
from ..summary.steadiness import steadiness_doubts
from ..summary.summary import Summary

_WAITS = {"ttft": ("ttft",), "resume_ttft": ("ttft",), "e2e": ("ttft", "itl")}
"""By metric that can be normalised, the waits whose causes speak against it."""


def is_explained_by_size(summary: Summary, metric: str, traffic_class: str) -> bool:
    """Whether a tail is the workload's doing: its ratio is above 3, and below it once each request is divided by what
    one of its size should take.

    Only where the whole interval of that is below 3, the run was steady, and nothing else is a likely cause: what is
    fitted to a run that drifts, or whose contexts are dropped, excuses the server for what it did.
    """
    if not may_be_size(summary, metric, traffic_class):
        return False
    found = summary.attribution
    if found is None:
        return False
    examined = {summary.verdict_class: found.causes, found.worst_class: found.worst_causes}
    # Of a class that was not looked into there is what the others suffered.
    of_class = [examined[traffic_class]] if traffic_class in examined else list(examined.values())
    waits = [causes[name] for causes in of_class for name in _WAITS.get(metric, ()) if name in causes]
    return {cause for wait in waits for cause in wait.likely} <= {Cause.SIZE}


def tell_uneven_work(summary: Summary) -> None:
    """Give tails that sizes explain their state. The summary must have its causes."""
    for metric, by_class in summary.metrics.items():
        for name, measured in by_class.items():
            if measured.verdict is State.FLAGGED and is_explained_by_size(summary, metric, name):
                measured.verdict = State.UNEVEN_WORK


def may_be_size(summary: Summary, metric: str, traffic_class: str) -> bool:
    """The same by numbers alone, whatever the causes."""
    measured = summary.metrics.get(metric, {}).get(traffic_class)
    if measured is None or steadiness_doubts(summary):
        return False
    return measured.tail_ratio > FLAG_RATIO and _is_below(measured)


def _is_below(measured: MetricSummary) -> bool:
    if measured.normalised_ratio is None or measured.normalised_ratio > FLAG_RATIO:
        return False
    interval = measured.normalised_interval
    return interval is None or interval.high <= FLAG_RATIO
