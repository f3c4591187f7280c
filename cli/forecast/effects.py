"""Options of the traffic that can change nothing in what is asked for: found by looking at the sessions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from typing import Any

from ...engine.errors import ConfigurationError
from ...workloads.session import Session
from ...workloads.workload import Workload
from ..options.groups import changed
from ..options.recipe import make_traffic
from ..options.traffic import TrafficOptions

_LOOKED_AT = 8
"""Sessions of each stream. A trace with more may have others further on, so it is not judged."""
_SOURCE = ("workload", "trace", "trace_format", "skip_bad_rows")
_EITHER: Mapping[str, tuple[Any, Any]] = {
    "input_len": (1, 2),
    "output_len": (1, 2),
    "turns": (1, 2),
    "tool_pause_s": (1.0, 2.0),
    "context_scale": (1.0, 2.0),
    "time_scale": (0.5, 1.0),
    "pause_cap_s": (0.0, math.inf),
    "sub_agents": (0.0, 1.0),
    "synchronised": (False, True),
}
"""Fields, and two values that lie far apart: where both give the same sessions, any value does."""


def refuse_without_effect(options: TrafficOptions) -> None:
    """See that every option of the sessions' shape can change something.

    Raises:
        ConfigurationError: one cannot. Or an option is wrong (see `make_traffic`).
    """
    shape = TrafficOptions(**{name: getattr(options, name) for name in (*_SOURCE, *_EITHER)})
    for option, _ in changed(shape):
        if option.name in _EITHER and not _has_effect(shape, option.name):
            what = f"trace {options.trace}" if options.trace is not None else f"workload {options.workload or 'mixed'}"
            raise ConfigurationError(
                f"{option.flag} does not apply to the {what}: leave it out (its sessions are the same, whatever the "
                "value)"
            )


def _has_effect(options: TrafficOptions, name: str) -> bool:
    # What a file holds may change; presets stay as they are.
    return _differ(options, name) if options.trace is not None else _differ_in_preset(options, name)


@lru_cache(maxsize=64)
def _differ_in_preset(options: TrafficOptions, name: str) -> bool:
    return _differ(options, name)


def _differ(options: TrafficOptions, name: str) -> bool:
    one, other = (_sessions(options, name, value) for value in _EITHER[name])
    return one is None or one != other


def _sessions(options: TrafficOptions, name: str, value: Any) -> list[list[Session]] | None:
    """The first sessions of each stream with this value; None where others may differ."""
    workload: Workload = make_traffic(replace(options, **{name: value})).workload
    found = [list(islice(stream.sessions(options.seed), _LOOKED_AT)) for stream in workload.streams]
    is_whole = options.trace is None or all(0 < len(sessions) < _LOOKED_AT for sessions in found)
    return found if is_whole else None
