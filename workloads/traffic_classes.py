"""The traffic classes of a workload, as far as they can be known before it is sent."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from ..engine.errors import ConfigurationError
from .session import Session
from .workload import ALL, Workload

_LOOKED_AT = 200
"""Sessions of each stream. A preset draws all of its classes early; a trace may hold another one further on."""


def check_class(workload: Workload, seed: int, name: str) -> None:
    """Raise `ConfigurationError` if the workload is known to have no such class.

    Raises:
        TraceError: a row of its trace is bad.
    """
    if name == ALL:
        return
    found: dict[str, None] = {}
    is_all = True
    for stream in workload.streams:
        num_sessions = 0
        for session in islice(stream.sessions(seed), _LOOKED_AT):
            num_sessions += 1
            found |= dict.fromkeys(_classes(session))
            if name in found:
                return
        is_all = is_all and (num_sessions < _LOOKED_AT or not stream.is_recorded)
    if is_all:
        raise ConfigurationError(
            f"--class {name}: the workload {workload.name} has no such class; it has {', '.join(found)}, and {ALL}"
        )


def _classes(session: Session) -> Iterator[str]:
    yield session.traffic_class
    for turn in session.turns:
        for child in turn.children:
            yield from _classes(child)
