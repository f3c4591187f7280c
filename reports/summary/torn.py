"""What is said of lines of a run folder that a full disk, a crash or a power cut has torn."""

from __future__ import annotations

from ..formatting import counted
from .finding import Finding, not_trusted
from .summary import Summary

_RESULTS = "results."
MAX_TORN_SHARE = 0.01
"""Of the results. Those of one moment are torn together, and it may have been the slowest of the run."""


def is_of_results(name: str) -> bool:
    """Whether a file of this name has results of requests."""
    return name.startswith(_RESULTS)


def torn_notes(summary: Summary) -> list[str]:
    """How many lines of which file were left out."""
    return [
        f"{counted(number, 'line')} of {name} could not be read and {'was' if number == 1 else 'were'} left out: torn "
        "by a full disk, a crash or a power cut"
        for name, number in summary.torn_lines.items()
    ]


def torn_doubts(summary: Summary) -> list[Finding]:
    """That too many results are missing; empty if few or none are."""
    torn = sum(number for name, number in summary.torn_lines.items() if is_of_results(name))
    share = torn / max(torn + summary.requests + summary.warmup_requests, 1)
    if share <= MAX_TORN_SHARE:
        return []
    return [not_trusted(f"{share:.1%} of the results are torn and were left out", share_torn=share)]
