"""A trace as a workload."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from random import Random

from ...engine.errors import ConfigurationError
from ..presets.scales import Scales
from ..session import Session
from ..workload import ClosedLoop, OpenLoop, Replay, Stream, Workload, check_pace, picked
from .fit import fit
from .trace import Trace

_CONCURRENCY = 8
"""Live sessions of a trace that does not say when they start."""


def trace_workload(
    trace: Trace,
    scales: Scales,
    *,
    concurrency: int | None = None,
    request_rate: float | None = None,
    arrival: str | None = None,
    speed: float | None = None,
) -> Workload:
    """Sessions of a trace, at the times it says or at a pace of their own.

    Raises:
        ConfigurationError: two paces are asked for, or times of a trace that has none.
        TraceError: the trace's first row is bad.
    """
    if concurrency is not None and request_rate is not None:
        raise ConfigurationError("give --concurrency or --request-rate, not both: a trace has one pace")
    if speed is not None and (concurrency is not None or request_rate is not None):
        raise ConfigurationError("--trace-speed is for the times of the trace, which the pace given ignores")
    if arrival is not None and request_rate is None:
        raise ConfigurationError("--arrival needs --request-rate")
    check_pace(concurrency, request_rate)
    pacing: ClosedLoop | OpenLoop | Replay
    if request_rate is not None:
        pacing = OpenLoop(request_rate, arrival or "poisson")
    elif concurrency is None and trace.has_timestamps:
        pacing = Replay(speed or 1.0)
    elif speed is not None:
        raise ConfigurationError(f"--trace-speed: {trace.path} ({trace.format}) does not say when sessions start")
    else:
        pacing = ClosedLoop(concurrency or _CONCURRENCY)

    def supply(seed: int, numbers: Iterable[int]) -> Iterator[Session]:
        sessions = picked(trace.sessions(), numbers)
        return (fit(session, scales, Random(f"{seed}/{session.session_id}")) for session in sessions)

    name = trace.path.stem
    return Workload(name, f"{trace.format} trace", (Stream(name, supply, pacing),))
