"""What the shell completes for options and arguments whose values are names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from ...engine.errors import ConfigurationError
from ..settings.file import find_settings

_RUNS = Path("runs")


def complete_run(incomplete: str) -> list[str]:
    """Folders in runs/, the latest first: their names begin with the time."""
    with suppress(OSError):
        folders = sorted((one for one in _RUNS.iterdir() if one.is_dir()), reverse=True)
        return _beginning(incomplete, map(str, folders))
    return []


def complete_target(incomplete: str) -> list[str]:
    """Targets of abatch.toml."""
    with suppress(ConfigurationError):
        return _beginning(incomplete, find_settings(None).targets)
    return []


def complete_workload(incomplete: str) -> list[str]:
    """Presets, the last of several too."""
    from ...workloads.presets.catalog import WORKLOADS  # these lists are long, and seldom asked for

    head, comma, last = incomplete.rpartition(",")
    return [f"{head}{comma}{name}" for name in _beginning(last, WORKLOADS)]


def complete_device(incomplete: str) -> list[str]:
    """Devices that may be here, and simulated ones."""
    from ...engine.simulation.device_profile import DEVICES

    return _beginning(incomplete, ["auto", "cpu", "cuda", *(f"simulated:{name}" for name in DEVICES)])


def complete_api(incomplete: str) -> list[str]:
    """APIs of servers."""
    from ...workloads.targets.wire.names import API_PATHS, AUTO

    return _beginning(incomplete, [AUTO, *API_PATHS])


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


COMPLETIONS: dict[str, Callable[[str], list[str]]] = {
    "run": complete_run,
    "runs": lambda incomplete: [*complete_target(incomplete), *complete_run(incomplete)],
    "words": complete_target,
    "baseline": complete_run,
    "url": complete_target,
    "workload": complete_workload,
    "device": complete_device,
    "api": complete_api,
}
"""By the name of the command's parameter."""
