"""Traces of a comparison for Perfetto: a file of each target and round."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ...engine.errors import ConfigurationError
from ...reports.atomic_file import cannot_write
from ...reports.renderings.hgrm import safe_file_name
from ...reports.renderings.timeline import write_timeline
from ...reports.run.folder import ROUND
from ...reports.run.measurement import Measurement


def check_timelines(folder: Path, runs: Path | None = None) -> None:
    """Raise `ConfigurationError` if traces could not be written there: better before the runs than after them.

    Args:
        folder: For the traces: a new one, or an empty one. A trace never replaces another file.
        runs: The folder of the runs, which may not exist yet.
    """
    if folder.exists():
        if not folder.is_dir():
            raise ConfigurationError(f"--timeline {folder} is a file; name a new folder, for a trace of each run")
        if any(folder.iterdir()):
            raise ConfigurationError(f"--timeline {folder} is not empty; name a new folder")
    parent = folder if folder.exists() else folder.parent
    if parent != runs and not (parent.is_dir() and os.access(parent, os.W_OK)):
        raise ConfigurationError(f"cannot write --timeline {folder}: {parent} does not exist or is not writable")


def write_timelines(folder: Path, measurements: Mapping[str, Measurement]) -> None:
    """Write a trace of each run: `NAME-round-2.json`, and of a run that is alone `NAME.json`.

    Raises:
        ConfigurationError: a run is damaged.
        AbatchError: a file cannot be written (see `cannot_write`).
    """
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise cannot_write(f"--timeline {folder}", error) from error
    for name, one in measurements.items():
        for reader in one.rounds:
            of_round = f"-{reader.folder.name}" if reader.folder.name.startswith(ROUND) else ""
            write_timeline(reader, folder / f"{safe_file_name(name)}{of_round}.json")
