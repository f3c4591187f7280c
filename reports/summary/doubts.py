"""Why a run's numbers should not be believed."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ..recording.recorder import OF_STREAMS, TTFA
from .answers import answer_doubts, answer_token_doubt, streaming_doubt
from .cache import cache_doubts
from .causes import WAITS, Cause
from .client import client_doubts, floor_doubts, lag_doubt
from .errors import error_findings, has_failed, limit_in_words
from .finding import Finding, Label, Tone, not_trusted
from .silence import silence_doubts
from .state import State
from .steadiness import steadiness_doubts
from .summary import Summary, share_client_limited
from .torn import torn_doubts

MAX_LATE_SHARE = 0.05
_MAX_LIMITED_SHARE = 0.01
_MOST_OF_A_TAIL = 0.5
"""Of its slow moments."""
_LAG_THAT_TIMES_OUT_MS = 1000.0
"""A client that stood still for this long may have let a request time out that was answered in time."""


def doubts(summary: Summary) -> list[Finding]:
    """Why no verdict on this run's latencies can stand, the weightiest first; empty if nothing speaks against one.

    Rules on latencies are inconclusive then; those on rates and errors are judged all the same.
    """
    found = error_findings(summary) if has_failed(summary) else []
    late = client_problems(summary)
    return [
        *found,
        *late,
        *place_doubts(summary),
        *silence_doubts(summary.silence, summary.measured_s, is_closed_loop=summary.closed_loop),
        *([] if late else steadiness_doubts(summary)),  # a client that falls behind makes latencies grow by itself
        *cache_doubts(summary.cache),
        *answer_doubts(summary),
        *torn_doubts(summary),
    ]


def doubts_of_comparison(summary: Summary) -> list[Finding]:
    """Why this run can be compared with no other. Growth is no such reason: the other had the same traffic as long."""
    growth = steadiness_doubts(summary)
    return [doubt for doubt in doubts(summary) if doubt not in growth]


def client_problems(summary: Summary) -> list[Finding]:
    """What shows that the client was the bottleneck; empty if it was not."""
    found = []
    if (limited := share_client_limited(summary)) > _MAX_LIMITED_SHARE:
        found.append(not_trusted(limit_in_words(summary), share_client_limited=limited))
    if (late := summary.late_arrivals / max(summary.requests, 1)) > MAX_LATE_SHARE:
        words = f"{late:.1%} of the requests were sent late: the client was the bottleneck"
        if summary.client is not None and summary.client.kept_waiting:
            words += f"; {summary.client.kept_waiting}"
        found.append(not_trusted(words, share_late=late))
    num_dropped = summary.dropped_arrivals - summary.unplaced_arrivals
    if (dropped := num_dropped / max(summary.requests, 1)) > MAX_LATE_SHARE:
        words = (
            f"{num_dropped} arrivals ({dropped:.1%}) were due and never sent: the client was the bottleneck; they "
            "count as lower bounds"
        )
        found.append(not_trusted(words, share_dropped=dropped))
    if summary.client is not None:
        found += client_doubts(summary.client)
        found += floor_doubts(summary.client.floor, summary.offered_rate)
    return found


def place_doubts(summary: Summary) -> list[Finding]:
    """That too many requests never got one of the --max-in-flight places; empty if few or none did."""
    unplaced = summary.unplaced_arrivals
    share = unplaced / max(summary.requests, 1)
    if share <= MAX_LATE_SHARE:
        return []
    words = (
        f"{unplaced:,} arrivals ({share:.0%}) were still waiting for one of the --max-in-flight places when the run "
        "ended, and count as lower bounds: the server does not keep up with this load at so many requests at once"
    )
    return [Finding(label=Label.OVERLOADED, tone=Tone.BAD, words=words, numbers={"share_unplaced": share})]


def share_timed_out_here(summary: Summary) -> float:
    """Share of requests that timed out in a run in which the client was behind: nobody knows whose fault that was."""
    stood_still = summary.client is not None and summary.client.lag_max_ms >= _LAG_THAT_TIMES_OUT_MS
    if not stood_still and not client_problems(summary):
        return 0.0
    return summary.errors.get("timeout", 0) / max(summary.requests, 1)


def doubt_of_metric(summary: Summary, metric: str, traffic_class: str) -> Finding | None:
    """Why one metric must not be read as the server's, though others may; None if nothing speaks against it."""
    measured = summary.metrics.get(metric, {}).get(traffic_class)
    if metric in OF_STREAMS and (doubt := streaming_doubt(summary, traffic_class)) is not None:
        return doubt
    if summary.client is None or measured is None:
        return None
    if (doubt := lag_doubt(summary.client, metric, traffic_class, measured)) is not None:
        return doubt
    share = _share_of_client(summary, metric, traffic_class)
    if share <= _MOST_OF_A_TAIL or measured.verdict not in (State.FLAGGED, State.BORDERLINE):
        return None
    words = f"{metric}: its slow moments are the client's own: that was late in {share:.0%} of them"
    waiting = summary.client.kept_waiting
    return not_trusted(
        f"{words}; {waiting}" if waiting else words,
        metric=metric,
        traffic_class=traffic_class,
        share_of_client=share,
        p99_ms=measured.p99_ms,
    )


def doubt_of_comparison(summary: Summary, metric: str, traffic_class: str) -> Finding | None:
    """Likewise of comparing it: lower bounds cannot be compared with values, or with other lower bounds."""
    doubt = doubt_of_metric(summary, metric, traffic_class)
    return answer_token_doubt(summary, traffic_class) if doubt is None and metric == TTFA else doubt


def _share_of_client(summary: Summary, metric: str, traffic_class: str) -> float:
    """Of a tail's waits, how many the client's own lateness explains better than chance."""
    attribution = summary.attribution
    if attribution is None:
        return 0.0
    of_class = {attribution.worst_class: attribution.worst_causes, summary.verdict_class: attribution.causes}
    causes = of_class.get(traffic_class, {}).get(WAITS.get(metric, ""))
    if causes is None or Cause.CLIENT not in causes.likely:
        return 0.0
    return next((one.share for one in causes.causes if one.cause is Cause.CLIENT), 0.0)


def lag_of_client_ms(summary: Summary, metric: str, traffic_class: str) -> float:
    """What the client may have added to a metric's tail; infinite where nearly all of it is the client's own."""
    if summary.client is None:
        return 0.0
    if _share_of_client(summary, metric, traffic_class) > _MOST_OF_A_TAIL:
        return math.inf
    return summary.client.lag_ms(metric)


def doubts_with(summary: Summary, metrics: Iterable[str], traffic_class: str) -> list[Finding]:
    """All doubts: those about the run, then those about these metrics of a class, where it has them."""
    found = doubts(summary)
    for metric in metrics:
        if traffic_class in summary.metrics.get(metric, {}):
            doubt = doubt_of_metric(summary, metric, traffic_class)
            found += [doubt] if doubt is not None and doubt not in found else []
    return found
