"""Requests that waited for one of the --max-in-flight places: the load's doing, and part of their latency."""

from __future__ import annotations

from collections.abc import Iterator

from ..formatting import counted, duration
from .finding import Finding, Label, Tone
from .summary import Summary

MAX_UNPLACED_SHARE = 0.05
"""Of the requests: with more of them left waiting, percentiles are lower bounds."""


def place_doubts(summary: Summary) -> list[Finding]:
    """That too many requests never got a place; empty if few or none did."""
    unplaced = summary.unplaced_arrivals
    share = unplaced / max(summary.requests, 1)
    if share <= MAX_UNPLACED_SHARE:
        return []
    words = (
        f"{unplaced:,} arrivals ({share:.0%}) were still waiting for one of the --max-in-flight places when the run "
        "ended, and count as lower bounds: the server does not keep up with this load at so many requests at once"
    )
    return [Finding(label=Label.OVERLOADED, tone=Tone.BAD, words=words, numbers={"share_unplaced": share})]


def place_facts(summary: Summary) -> Iterator[str]:
    """How many waited, and for how long; nothing if nobody did."""
    if summary.held_requests:
        words = (
            f"{counted(summary.held_requests, 'request')} of {summary.requests:,} waited for one of the "
            f"--max-in-flight places, {duration(summary.held_mean_ms)} on average, which counts as latency"
        )
        if summary.unplaced_arrivals:
            words += f"; {summary.unplaced_arrivals:,} of them in vain"
        yield words
