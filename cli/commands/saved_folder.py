"""A folder that somebody names, or leaves unnamed: what is saved in it, and which is the latest."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from ...engine.errors import ConfigurationError
from ...reports.renderings.terminal import terminal
from ...reports.run.folder import COMPARISON, CONFIG, ROUND, SWEEP
from ...reports.text import clean

RUNS = Path("runs")
"""Where runs go that were given no folder."""
LATEST = "latest"
"""A name for the latest folder in `RUNS`, unless there is a folder of that name."""


class Kind(StrEnum):
    """What a folder holds."""

    RUN = "a run"
    COMPARISON = "a comparison"
    SWEEP = "a sweep"
    ROUNDS = "the rounds of one target of a comparison"


SHOWN = (Kind.RUN, Kind.SWEEP, Kind.COMPARISON)
"""What can be shown, and done again."""


def kind_of(folder: Path) -> Kind | None:
    """What is in a folder; None: nothing that we have saved."""
    return _kind_and_time(folder)[0]


def named(folder: Path | None, kinds: Collection[Kind]) -> Path:
    """The folder that was named; without a name, or by the name `latest`, the latest of these kinds, which is said.

    Raises:
        ConfigurationError: there is none.
    """
    if folder is not None and (str(folder) != LATEST or folder.exists()):
        return folder
    found = latest(kinds)
    terminal(stderr=True, soft_wrap=True).print(f"the latest is {clean(str(found))}")
    return found


def latest(kinds: Collection[Kind]) -> Path:
    """The folder of these kinds in `runs` that was written to last.

    Raises:
        ConfigurationError: there is none.
    """
    found = [(time, folder) for folder in _within(RUNS) for kind, time in [_kind_and_time(folder)] if kind in kinds]
    if not found:
        what = Kind.RUN if set(kinds) == {Kind.RUN} else "a run, a comparison or a sweep"
        raise ConfigurationError(f"no folder in {RUNS}/ holds {what}: name one, or make one with abatch bench")
    return max(found)[1]


def why_not(folder: Path, kinds: Collection[Kind] = (Kind.RUN,)) -> str | None:
    """Why a folder is of none of these kinds, and what to do with it, in a line; None: it is of one of them."""
    kind = kind_of(folder)
    if kind in kinds:
        return None
    match kind:
        case Kind.RUN:
            return f"{folder} is a run: abatch report {folder} shows it"
        case Kind.COMPARISON:
            return f"{folder} is a comparison: abatch compare {folder} shows it, and judges --require"
        case Kind.SWEEP:
            return f"{folder} is a sweep: abatch report {folder} shows it, and each folder in it is a run"
        case Kind.ROUNDS:
            return f"{folder} holds rounds of a comparison, each of which is a run, such as {folder / ROUND}1"
    if not folder.exists():
        return f"there is no folder {folder}"
    if not folder.is_dir():
        return f"{folder} is not a run folder: it is a file"
    within = sorted(_within(folder))
    if not within:
        return f"{folder} is empty"
    if run := next((path for path in within if os.path.lexists(path / CONFIG)), None):
        return f"{folder} is not a run folder: it has some in it, such as {run}"
    return f"{folder} is not a run folder: there is no {CONFIG} in it"


def _kind_and_time(folder: Path) -> tuple[Kind | None, float]:
    """What is in a folder, and when that was written."""
    for name, kind in ((CONFIG, Kind.RUN), (COMPARISON, Kind.COMPARISON), (SWEEP, Kind.SWEEP)):
        try:
            return kind, (folder / name).lstat().st_mtime
        except OSError:
            continue
    if rounds := _round_times(folder):
        return Kind.ROUNDS, max(rounds)
    times = [time for target in _within(folder) for time in _round_times(target)]
    return (Kind.COMPARISON, max(times)) if times else (None, 0.0)


def _round_times(folder: Path) -> list[float]:
    """When the rounds in a folder were written."""
    found = []
    for path in _within(folder):
        with suppress(OSError):
            if path.name.startswith(ROUND):
                found.append((path / CONFIG).lstat().st_mtime)
    return found


def _within(folder: Path) -> Iterator[Path]:
    try:
        yield from folder.iterdir()
    except OSError:
        return
