"""Whether two runs were sent the same traffic, and which options say otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..run.config import RunConfig
from ..run.measurement import Measurement

_SAME_KIND = ("seed", "duration", "num_sessions", "num_requests", "warmup", "drain")
"""Where only these differ, both got traffic of one kind: other draws, or more of them."""
_SAID_ELSEWHERE = ("workload", "trace_format", "skip_bad_rows")
"""A run names its workload; a trace's digest contains its format."""
_NAMES = {
    "input_len": "--isl",
    "output_len": "--osl",
    "trace_digest": "the content of the trace",
    "traffic_version": "the version of the traffic",
}
"""Others go by the names of their options."""
_MOST_NAMED = 4


def is_same_traffic(first: RunConfig, other: RunConfig) -> bool:
    """Whether both got the same requests at the same times, as far as the servers kept up and the runs say."""
    return bool(first.traffic) and bool(other.traffic) and not _differing(first, other)


def is_paired(first: Measurement, other: Measurement) -> bool:
    """Whether they got the same traffic round by round."""
    return len(first.rounds) == len(other.rounds) and all(
        is_same_traffic(one.config, two.config) for one, two in zip(first.rounds, other.rounds, strict=True)
    )


def why_traffic_differs(first: tuple[RunConfig, str], other: tuple[RunConfig, str]) -> str | None:
    """Why the latencies of two runs, each with its name, do not compare; None if they do, as far as the runs say."""
    (one, one_name), (two, two_name) = first, other
    differing = [key for key in _differing(one, two) if key not in _SAME_KIND]
    if not differing:
        return None
    listed = "; ".join(
        f"{_name(key)} {_value(two.traffic[key])} in {two_name}, {_value(one.traffic[key])} in {one_name}"
        for key in differing[:_MOST_NAMED]
    )
    more = len(differing) - _MOST_NAMED
    return f"they were not sent the same traffic: {listed}{f'; and {more} more' if more > 0 else ''}"


def traffic_notes(first: RunConfig, other: RunConfig) -> list[str]:
    """What to know of the traffic of two runs that compare; of others, `why_traffic_differs` has said it."""
    if not first.traffic or not other.traffic:
        return ["whether the traffic was the same is unknown (an older run): the comparison is less sensitive"]
    notes = []
    differing = _differing(first, other)
    if differing and set(differing) <= set(_SAME_KIND):
        listed = ", ".join(
            f"{_name(key)} {_value(first.traffic[key])} and {_value(other.traffic[key])}" for key in differing
        )
        notes.append(f"the traffic was not the same ({listed}): the comparison is less sensitive")
    if unknown := _unknown(first, other):
        names = ", ".join(map(_name, unknown))
        notes.append(f"whether the traffic agrees in {names} is unknown: one of the runs is older and does not say")
    return notes


def _differing(first: RunConfig, other: RunConfig) -> list[str]:
    """The keys of what both say and do not agree on."""
    ignored = _ignored(first, other)
    common = [key for key in first.traffic if key in other.traffic and key not in ignored]
    return [key for key in common if first.traffic[key] != other.traffic[key]]


def _unknown(first: RunConfig, other: RunConfig) -> list[str]:
    """The keys of what only one of them says."""
    ignored = _ignored(first, other)
    return sorted(key for key in first.traffic.keys() ^ other.traffic.keys() if key not in ignored)


def _ignored(first: RunConfig, other: RunConfig) -> Sequence[str]:
    """Where a trace lies does not matter if its content is known."""
    has_digests = "trace_digest" in first.traffic and "trace_digest" in other.traffic
    return (*_SAID_ELSEWHERE, "trace") if has_digests else _SAID_ELSEWHERE


def _name(key: str) -> str:
    return _NAMES.get(key, f"--{key.replace('_', '-')}")


def _value(value: Any) -> str:
    if value is None:
        return "not given"
    return f"{value:g}" if isinstance(value, float) else str(value)
