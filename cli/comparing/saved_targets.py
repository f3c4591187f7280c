"""Saved runs that are to be compared, single ones and the rounds of an earlier comparison."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from ...engine.errors import ConfigurationError
from ...reports.comparison.answer_agreement import AnswerAgreement
from ...reports.comparison.comparison import Comparison
from ...reports.run.folder import COMPARISON, CONFIG, MOST_SUMMARY_BYTES, ROUND, RunReader
from ...reports.run.line_file import UNREADABLE
from ...reports.run.measurement import Measurement
from ...workloads.regular_file import read_regular


def saved_targets(
    folders: Sequence[Path], traffic_class: str | None = None, goodput: str | None = None
) -> SavedTargets:
    """Saved runs by name. A folder that `abatch compare` wrote stands for all targets in it, rounds and all.

    Args:
        folders: Of runs.
        traffic_class: What the comparison is about; None: what the runs were about.
        goodput: Objectives that requests are counted by; None: the runs' own.

    Raises:
        ConfigurationError: one of them is not a run, or there are fewer than two.
    """
    found: list[tuple[Path, list[Path]]] = []
    failed: dict[str, str] = {}
    agreements: dict[str, AnswerAgreement] = {}
    for folder in folders:
        if _is_file(folder / CONFIG) or not folder.is_dir():
            found.append((folder, [folder]))
        elif rounds := _rounds(folder):
            found.append((folder, rounds))
        else:
            within, saved = _within(folder)
            found += within
            if saved is not None:
                failed |= saved.failed
                agreements |= {target.name: target.answers for target in saved.targets if target.answers is not None}
    if len(found) < 2:
        raise ConfigurationError("compare needs at least two runs, or a folder that abatch compare wrote")
    names = names_of([folder for folder, _ in found])
    readers = {
        name: [RunReader(path, traffic_class, goodput) for path in rounds]
        for name, (_, rounds) in zip(names, found, strict=True)
    }
    if len(folders) > 1:
        agreements = {}  # with another first target they say nothing
    return SavedTargets(*_common(readers), failed, agreements)


def read_comparison(folder: Path) -> Comparison:
    """What `abatch compare` saved in the end.

    Raises:
        ConfigurationError: it did not get that far, or the file is damaged.
    """
    path = folder / COMPARISON
    try:
        return msgspec.json.decode(read_regular(path, MOST_SUMMARY_BYTES, follows_links=False), type=Comparison)
    except FileNotFoundError:
        raise ConfigurationError(
            f"{folder} is of a comparison that broke off: there is no {COMPARISON} in it"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None
    except UNREADABLE as error:
        raise ConfigurationError(f"{path} is damaged: {error}") from None


@dataclass(frozen=True, slots=True)
class SavedTargets:
    """What was found.

    Attributes:
        measurements: By name, the first first.
        notes: What was left out.
        failed: Targets that could not be measured when the others were, and why.
        agreements: By target, whether it gives the same answers as the first, where that was checked at the time.
    """

    measurements: dict[str, Measurement]
    notes: list[str]
    failed: dict[str, str]
    agreements: dict[str, AnswerAgreement]


def _common(readers: Mapping[str, list[RunReader]]) -> tuple[dict[str, Measurement], list[str]]:
    """The rounds that all targets have finished, where they have rounds."""
    if any(len(runs) == 1 and not runs[0].folder.name.startswith(ROUND) for runs in readers.values()):
        return {name: Measurement(runs) for name, runs in readers.items()}, []
    whole = {
        name: {reader.folder.name: reader for reader in runs if reader.is_complete} for name, runs in readers.items()
    }
    common = [key for key in next(iter(whole.values())) if all(key in runs for runs in whole.values())]
    if not common:
        raise ConfigurationError("no round was finished by all targets")
    every = dict.fromkeys(reader.folder.name for runs in readers.values() for reader in runs)
    left_out = [key for key in every if key not in common]
    notes = [f"{', '.join(left_out)} left out: not all targets have finished it"] if left_out else []
    return {name: Measurement([runs[key] for key in common]) for name, runs in whole.items()}, notes


def _within(folder: Path) -> tuple[list[tuple[Path, list[Path]]], Comparison | None]:
    """The targets in a folder of `abatch compare`, in its order, and what was saved of the comparison."""
    try:
        within = [(target, _rounds(target)) for target in sorted(folder.iterdir()) if target.is_dir()]
    except OSError as error:
        raise ConfigurationError(f"cannot read {folder}: {error.strerror}") from error
    within = [(target, rounds) for target, rounds in within if rounds]
    if not within:
        raise ConfigurationError(f"{folder} is not a run folder: there is no readable {CONFIG} in it")
    try:
        saved = read_comparison(folder)
    except ConfigurationError:
        # The one that was measured first comes first: the others are compared with it.
        return sorted(within, key=lambda item: _started(item[1][0])), None
    order = [saved.first, *(target.name for target in saved.targets)]
    known = [(target, rounds) for name in order for target, rounds in within if target.name == name]
    return known, saved


def _started(run: Path) -> datetime:
    try:
        return datetime.fromisoformat(RunReader(run).config.started_at)
    except ValueError:
        return datetime.now(UTC)


def _rounds(folder: Path) -> list[Path]:
    found = [path for path in folder.glob(f"{ROUND}*") if _is_file(path / CONFIG)]
    return sorted(found, key=lambda path: (len(path.name), path.name))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def names_of(folders: Sequence[Path]) -> list[str]:
    """A name for each run: its folder's, with as many of the folders above it as tell it from the others.

    `runs/monday/mixed` and `runs/tuesday/mixed` are `monday/mixed` and `tuesday/mixed`. The same folder again gets a
    number.
    """
    paths = [folder.resolve().parts for folder in folders]
    lengths = [1] * len(paths)
    while True:
        names = ["/".join(path[-length:]) for path, length in zip(paths, lengths, strict=True)]
        of_name: dict[str, set[tuple[str, ...]]] = {}
        for name, path in zip(names, paths, strict=True):
            of_name.setdefault(name, set()).add(path)
        alike = [index for index, name in enumerate(names) if len(of_name[name]) > 1]
        if not alike:
            return _numbered(names)
        for index in alike:
            lengths[index] += 1


def _numbered(names: Sequence[str]) -> list[str]:
    seen: Counter[str] = Counter()
    unique = []
    for name in names:
        seen[name] += 1
        unique.append(f"{name} ({seen[name]})" if names.count(name) > 1 else name)
    return unique
