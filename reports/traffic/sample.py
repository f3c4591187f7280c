"""Sessions a workload would send, in the order they would start in, with their start where the pace says it."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from ...engine.errors import ConfigurationError
from ...workloads.session import Session
from ...workloads.workload import ClosedLoop, OpenLoop, Stream, Workload


def is_closed(workload: Workload) -> bool:
    """All of its sessions wait for others to end, so their start times are not known in advance."""
    return all(isinstance(stream.pacing, ClosedLoop) for stream in workload.streams)


def has_one_kind_of_pace(workload: Workload) -> bool:
    """All sessions wait for others to end, or none does."""
    return len({isinstance(stream.pacing, ClosedLoop) for stream in workload.streams}) == 1


def start_times(workload: Workload, seed: int) -> Iterator[float]:
    """When sessions of the open-loop streams start, in seconds; those of a run with the same seed, without end."""
    return heapq.merge(*(_times(stream, seed) for stream in workload.streams if isinstance(stream.pacing, OpenLoop)))


def sample(workload: Workload, seed: int, num_sessions: int | None = None) -> Iterator[Session]:
    """The first sessions of all streams together; None for all of a trace's.

    Those of closed loops are in turn, each stream as often as its share of the live sessions: which one really
    starts next depends on how soon the server is through with the others. Beside closed loops an open one has as many
    as all of them together, and no start: how many sessions pass in the meantime cannot be known.
    """
    streams = workload.streams
    if is_closed(workload) or not has_one_kind_of_pace(workload):
        live = sum(stream.pacing.concurrency for stream in streams if isinstance(stream.pacing, ClosedLoop))
        rate = sum(stream.pacing.rate for stream in streams if isinstance(stream.pacing, OpenLoop))
        parts = [_numbered(stream, seed, _weight(stream, live, rate)) for stream in streams]
        sessions = (session for _, _, session in heapq.merge(*parts, key=lambda part: part[:2]))
    else:
        sessions = heapq.merge(*(_started(stream, seed) for stream in streams), key=lambda it: it.start_s or 0.0)
    return islice(sessions, num_sessions)


def check_exportable(workload: Workload) -> None:
    """Raise `ConfigurationError` if a file of sessions could not say how they are paced."""
    if not has_one_kind_of_pace(workload):
        raise ConfigurationError(
            f"the workload {workload.name!r} mixes closed and open loops; a file holds sessions of one pace"
        )


def _weight(stream: Stream, live: int, rate: float) -> float:
    match stream.pacing:
        case ClosedLoop(concurrency):
            return concurrency / live
        case OpenLoop(own_rate):
            return own_rate / rate
        case _:
            return 1.0


def _numbered(stream: Stream, seed: int, weight: float) -> Iterator[tuple[float, str, Session]]:
    """Sessions with their place among those of other streams."""
    for index, session in enumerate(stream.sessions(seed)):
        yield (index + 0.5) / weight, stream.name, replace(session, start_s=None)


def _started(stream: Stream, seed: int) -> Iterator[Session]:
    """Sessions with their start."""
    sessions = stream.sessions(seed)
    match stream.pacing:
        case OpenLoop():
            for start_s, session in zip(_times(stream, seed), sessions, strict=False):
                yield replace(session, start_s=start_s)
        case pacing:
            speed = 1.0 if isinstance(pacing, ClosedLoop) else pacing.speed
            for session in sessions:
                is_as_recorded = speed == 1.0 or session.start_s is None
                yield session if is_as_recorded else replace(session, start_s=(session.start_s or 0.0) / speed)


def _times(stream: Stream, seed: int) -> Iterator[float]:
    """As the load generator draws them, in whole microseconds."""
    return (round(time_s, 6) for time_s in stream.arrivals(seed))
