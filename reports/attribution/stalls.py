"""Moments at which many streams stood still at once: one event each, however many requests it hit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from .cause import Cause

_LEAST_STREAMS = 3
_SAME_SHARE = 0.5
"""Of the shorter of two gaps: with so much in common they are the same event."""
MOST_STALLS = 50


class Stall(msgspec.Struct, kw_only=True):
    """Streams that stood still together.

    Attributes:
        start_s: Seconds since the run began. `length_s`: the median gap.
        streams: How many had a gap then.
        waiting: Requests that spent most of it waiting for their first token.
    """

    start_s: float
    length_s: float
    streams: int
    waiting: int = 0
    cause: Cause = Cause.STALL

    @property
    def end_s(self) -> float:
        """When it was over."""
        return self.start_s + self.length_s


def find_stalls(gaps: Iterable[tuple[float, float]]) -> list[Stall]:
    """Cluster (start, end) of long gaps; the longest stalls first, those of fewer than three streams left out."""
    stalls: list[Stall] = []
    cluster: list[tuple[float, float]] = []
    for gap in sorted(gaps):
        if cluster and not _is_same(cluster, gap):
            stalls += _stall(cluster)
            cluster = []
        cluster.append(gap)
    stalls += _stall(cluster)
    return sorted(stalls, key=lambda stall: -stall.length_s)[:MOST_STALLS]


def _is_same(cluster: Sequence[tuple[float, float]], gap: tuple[float, float]) -> bool:
    """Whether a gap, that began no earlier than those of the cluster, is of the same event as its first."""
    start_s, end_s = cluster[0]
    common_s = min(end_s, gap[1]) - gap[0]
    return common_s >= _SAME_SHARE * min(end_s - start_s, gap[1] - gap[0])


def _stall(cluster: Sequence[tuple[float, float]]) -> list[Stall]:
    if len(cluster) < _LEAST_STREAMS:
        return []
    starts, lengths = sorted(start for start, _ in cluster), sorted(end - start for start, end in cluster)
    middle = len(cluster) // 2
    return [Stall(start_s=round(starts[middle], 4), length_s=round(lengths[middle], 4), streams=len(cluster))]
