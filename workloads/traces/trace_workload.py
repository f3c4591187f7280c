"""A trace as a workload."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from random import Random

from ...engine.errors import ConfigurationError
from ..presets.scales import Scales
from ..session import Session
from ..traffic_classes import MOST_CLASSES, told_apart
from ..workload import ClosedLoop, OpenLoop, Replay, Stream, Workload, check_pace, picked
from .fit import fit
from .trace import Trace

_CONCURRENCY = 8
"""Live sessions for a trace without start times."""


def trace_workload(
    trace: Trace,
    scales: Scales,
    *,
    concurrency: int | None = None,
    session_rate: float | None = None,
    arrival: str | None = None,
    speed: float | None = None,
    most_classes: int = MOST_CLASSES,
) -> Workload:
    """The sessions of a trace, at its own start times or at another pace. `most_classes` of it are told apart.

    Raises:
        ConfigurationError: two paces are given, or --trace-speed for a trace without start times.
        TraceError: the trace's first row is bad.
    """
    if concurrency is not None and session_rate is not None:
        raise ConfigurationError("give --concurrency or a rate, not both: a trace has one pace")
    if speed is not None and (concurrency is not None or session_rate is not None):
        raise ConfigurationError(
            "--trace-speed has no effect with --concurrency, --request-rate or --session-rate: they replace the "
            "trace's start times"
        )
    if arrival is not None and session_rate is None:
        raise ConfigurationError("--arrival needs --request-rate or --session-rate")
    check_pace(concurrency, None, session_rate)
    pacing: ClosedLoop | OpenLoop | Replay
    if session_rate is not None:
        pacing = OpenLoop(session_rate, arrival or "poisson")
    elif concurrency is None and trace.has_timestamps:
        pacing = Replay(speed or 1.0)
    elif speed is not None:
        raise ConfigurationError(f"--trace-speed needs start times, and {trace.path} ({trace.format}) has none")
    else:
        pacing = ClosedLoop(concurrency or _CONCURRENCY)

    def supply(seed: int, numbers: Iterable[int]) -> Iterator[Session]:
        sessions = picked(told_apart(trace.sessions(), most_classes), numbers)
        return (fit(session, scales, Random(f"{seed}/{session.session_id}")) for session in sessions)

    name = trace.path.stem
    return Workload(name, f"{trace.format} trace", (Stream(name, supply, pacing, is_recorded=True),))
