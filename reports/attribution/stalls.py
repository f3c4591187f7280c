"""Moments at which many streams stalled at once: one event each, however many requests it affected."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ...workloads.watching.server_metrics import ServerSample
from ..summary.causes import Cause, ServerThen, Stall

_LEAST_STREAMS = 3
_SAME_SHARE = 0.5
"""Of the shorter of two gaps: with this much overlap they are the same event."""
_SAME_SPELL = 5.0
"""Lengths of a stall: what follows sooner is of the same spell."""
MOST_STALLS = 50
_LEAST_SILENCE_S = 0.25
"""A page of metrics may take this long without a stall."""


class LongGap(NamedTuple):
    """A gap of a stream. `is_usual`: its gaps are like that; `was_made_good`: by the chunks right behind it."""

    start_s: float
    end_s: float
    is_usual: bool = False
    was_made_good: bool = False


def find_stalls(gaps: Iterable[LongGap], silences: Iterable[tuple[float, float, int]] = ()) -> list[Stall]:
    """Cluster long gaps; the longest stalls first, those of fewer than three streams left out.

    Silences (start, end, streams) are stalls however few streams there were, where no such cluster is. If the gaps are
    what is usual for their streams, nothing stalled, and the cause is unknown so far.
    """
    stalls: list[Stall] = []
    cluster: list[LongGap] = []
    for gap in sorted(gaps):
        if cluster and not _is_same(cluster, gap):
            stalls += _stall(cluster)
            cluster = []
        cluster.append(gap)
    stalls += _stall(cluster)
    for start_s, end_s, streams in silences:
        if not any(stall.start_s < end_s and start_s < stall.end_s for stall in stalls):
            stalls.append(Stall(start_s=round(start_s, 4), length_s=round(end_s - start_s, 4), streams=streams))
    return sorted(stalls, key=lambda stall: -stall.length_s)[:MOST_STALLS]


def merge_spells(stalls: Sequence[Stall]) -> list[Stall]:
    """Neighbouring stalls of a slow spell as one, from the first to the last; the longest first again."""
    merged: list[Stall] = []
    for stall in sorted(stalls, key=lambda stall: stall.start_s):
        last = merged[-1] if merged else None
        are_both_slow = last is not None and last.cause is stall.cause is Cause.SLOW_SPELL
        if last is None or not are_both_slow or stall.start_s - last.end_s > _SAME_SPELL * stall.length_s:
            merged.append(stall)
            continue
        last.length_s = round(max(last.end_s, stall.end_s) - last.start_s, 4)
        last.streams, last.waiting = max(last.streams, stall.streams), max(last.waiting, stall.waiting)
    return sorted(merged, key=lambda stall: -stall.length_s)


def _is_same(cluster: Sequence[LongGap], gap: LongGap) -> bool:
    """Whether a gap, that began no earlier than those of the cluster, is of the same event as its first."""
    first = cluster[0]
    common_s = min(first.end_s, gap.end_s) - gap.start_s
    return common_s >= _SAME_SHARE * min(first.end_s - first.start_s, gap.end_s - gap.start_s)


def _stall(cluster: Sequence[LongGap]) -> list[Stall]:
    if len(cluster) < _LEAST_STREAMS:
        return []
    starts = sorted(gap.start_s for gap in cluster)
    lengths = sorted(gap.end_s - gap.start_s for gap in cluster)
    middle = len(cluster) // 2
    cause = Cause.STALL
    if 2 * sum(gap.was_made_good for gap in cluster) > len(cluster):
        cause = Cause.NETWORK
    elif 2 * sum(gap.is_usual for gap in cluster) > len(cluster):
        cause = Cause.UNKNOWN
    return [
        Stall(
            start_s=round(starts[middle], 4),
            length_s=round(lengths[middle], 4),
            streams=len(cluster),
            cause=cause,
        )
    ]


def join_samples(stalls: Iterable[Stall], samples: Iterable[ServerSample]) -> None:
    """Add to each stall what the server's metrics said around it.

    Args:
        stalls: With their causes: if the client stalled, silence is its own.
        samples: Of the whole run, in order.
    """
    if not (stalls := list(stalls)):
        return
    asked = [sample for sample in samples if sample.kind is not None or sample.unanswered]
    answered = [sample for sample in asked if not sample.unanswered]
    answered_s = [sample.answered_s for sample in answered]
    asked_s = [sample.at_s for sample in asked]
    for stall in stalls:
        begin, end = bisect_right(answered_s, stall.start_s), bisect_left(answered_s, stall.end_s)
        before = answered[begin - 1] if begin > 0 else None
        after = answered[end] if end < len(answered) else None
        waiting = [sample.waiting for sample in answered[begin : end + 1] if sample.waiting is not None]
        # Scrapes follow one another: only the last one sent before the stall can reach into it.
        first = max(bisect_left(asked_s, stall.start_s) - 1, 0)
        scrapes = asked[first : bisect_left(asked_s, stall.end_s)]
        silent = [s for s in scrapes if s.answered_s > stall.start_s and s.took_s >= _LEAST_SILENCE_S]
        if before is None and after is None and not silent:
            continue
        stall.server = ServerThen(
            running_before=None if before is None else before.running,
            running_after=None if after is None else after.running,
            waiting_before=None if before is None else before.waiting,
            waiting_after=max(waiting, default=None),
            silent_s=round(silent[-1].answered_s - silent[0].at_s, 3)
            if silent and stall.cause is not Cause.CLIENT
            else None,
        )
