"""Which runs may be compared, and what to note when they are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ...engine.errors import ConfigurationError
from ..run.config import RunConfig
from ..run.measurement import Measurement
from ..summary.cache import CacheMode
from ..summary.summary import Summary
from .same_traffic import traffic_notes, why_traffic_differs

_DRIFT_H = 1.0
_SOFTWARE = ("abatch", "python", "torch", "transformers", "aiohttp")
_MACHINE = ("cpu", "cpu_count", "platform")


def refuse_incomparable(configs: Sequence[RunConfig], names: Sequence[str]) -> None:
    """Raise `ConfigurationError` if runs cannot be compared: different workloads, or a simulated and a real device."""
    for config, name in zip(configs[1:], names[1:], strict=True):
        if (why_not := why_incomparable((configs[0], names[0]), (config, name))) is not None:
            raise ConfigurationError(why_not)


def why_incomparable(first: tuple[RunConfig | Summary, str], other: tuple[RunConfig | Summary, str]) -> str | None:
    """Why two runs, each with its name, cannot be compared; None if they can."""
    (one, one_name), (two, two_name) = first, other
    if one.workload != two.workload:
        return (
            f"{one_name} is of workload {one.workload!r}, {two_name} of {two.workload!r}: "
            "only runs of the same workload can be compared"
        )
    if one.simulated != two.simulated:
        return f"one of {one_name} and {two_name} ran on a simulated device, the other did not: they cannot be compared"
    return None


def why_measured_apart(first: tuple[Measurement, str], other: tuple[Measurement, str]) -> str | None:
    """Why two measurements, each with its name, cannot be compared; None if they can."""
    (one, one_name), (two, two_name) = first, other
    return why_incomparable((one.summary, one_name), (two.summary, two_name)) or why_traffic_differs(
        (one.config, one_name), (two.config, two_name)
    )


def comparison_notes(first: RunConfig, other: RunConfig) -> list[str]:
    """What a reader should know before believing a difference between two runs."""
    notes = traffic_notes(first, other)
    if first.model != other.model:
        notes.append(f"the models differ: {first.model} and {other.model}")
    notes += _cache_notes(first, other)
    if (apart_h := _hours_apart(first.started_at, other.started_at)) is not None and apart_h > _DRIFT_H:
        notes.append(
            f"they were measured {_duration(apart_h)} apart and machines drift; abatch compare measures both in turns"
        )
    for what, keys in (("machines", _MACHINE), ("software", _SOFTWARE)):
        both = [(first.provenance.get(key), other.provenance.get(key), key) for key in keys]
        changed = [f"{key} {one} and {two}" for one, two, key in both if one and two and one != two]
        if changed:
            notes.append(f"the {what} of the clients differ: {', '.join(changed)}")
    return notes


def _cache_notes(first: RunConfig, other: RunConfig) -> list[str]:
    """What prefix caches may have known of the texts, where both were asked for alike.

    A simulated engine is new for each run.
    """
    modes = {first.cache, other.cache}
    if first.simulated and other.simulated and CacheMode.WARM not in modes:
        return []
    if modes == {CacheMode.AS_IS}:
        return ["--cache as-is: both were sent the same texts, and whatever a prefix cache knew of them counts"]
    if modes == {CacheMode.WARM}:
        return ["--cache warm: the first prompts of sessions were sent once before each run"]
    if first.text_salt and first.text_salt == other.text_salt:
        return ["both were sent the same texts (--text-salt): on one server, the second finds them in its prefix cache"]
    return []


def _hours_apart(first: str, other: str) -> float | None:
    try:
        apart = datetime.fromisoformat(other) - datetime.fromisoformat(first)
    except (ValueError, TypeError):
        return None
    return abs(apart.total_seconds()) / 3600


def _duration(hours: float) -> str:
    return f"{hours / 24:.0f} days" if hours >= 48 else f"{hours:.0f} h"
