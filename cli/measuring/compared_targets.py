"""What `abatch compare` is asked to compare: saved runs, servers at URLs, batching modes of our own engine."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from ...engine.errors import ConfigurationError
from ...engine.scheduling.limits import BATCHING_MODES
from ...engine.simulation.device_profile import is_simulated
from ...reports.comparison.comparison import COMPARISON, Comparison
from ...reports.run.folder import CONFIG, RunReader
from ...reports.run.measurement import Measurement
from ...reports.run.result_log import UNREADABLE
from ...workloads.targets.exact_text import load_text_tokenizer
from ...workloads.targets.server_url import normalise_url
from ..options.options import engine_arguments
from ..options.traffic import TRAFFIC_OPTIONS
from .own_engine import own_engine
from .targets import RemoteServer, Source

ROUND = "round-"
_NAMED_URL = re.compile(r"([A-Za-z0-9][\w.-]{0,39})=(https?://.*)", re.DOTALL)
_UNSAFE = re.compile(r"[^\w.-]+")


def saved_targets(folders: Sequence[Path]) -> SavedTargets:
    """Saved runs by name. A folder that `abatch compare` wrote stands for all targets in it, rounds and all.

    Raises:
        ConfigurationError: one of them is no run, or there are fewer than two.
    """
    found: list[tuple[Path, list[Path]]] = []
    failed: dict[str, str] = {}
    for folder in folders:
        if _is_file(folder / CONFIG) or not folder.is_dir():
            found.append((folder, [folder]))
        elif rounds := _rounds(folder):
            found.append((folder, rounds))
        else:
            within, why = _within(folder)
            found += within
            failed |= why
    if len(found) < 2:
        raise ConfigurationError("compare needs two runs at least, or a folder that abatch compare wrote")
    names = unique_names([folder.resolve().name for folder, _ in found])
    readers = {name: [RunReader(path) for path in rounds] for name, (_, rounds) in zip(names, found, strict=True)}
    return SavedTargets(*_common(readers), failed)


@dataclass(frozen=True, slots=True)
class SavedTargets:
    """What was found.

    Attributes:
        measurements: By name, the first first.
        notes: What was left out.
        failed: Targets that could not be measured when the others were, and why.
    """

    measurements: dict[str, Measurement]
    notes: list[str]
    failed: dict[str, str]


def _common(readers: Mapping[str, list[RunReader]]) -> tuple[dict[str, Measurement], list[str]]:
    """Of targets with rounds, those rounds that all of them have and have finished."""
    if any(len(runs) == 1 and not runs[0].folder.name.startswith(ROUND) for runs in readers.values()):
        return {name: Measurement(runs) for name, runs in readers.items()}, []
    whole = {
        name: {reader.folder.name: reader for reader in runs if reader.is_complete} for name, runs in readers.items()
    }
    common = [key for key in next(iter(whole.values())) if all(key in runs for runs in whole.values())]
    if not common:
        raise ConfigurationError("there is no round that all targets have finished")
    every = dict.fromkeys(reader.folder.name for runs in readers.values() for reader in runs)
    left_out = [key for key in every if key not in common]
    notes = [f"{', '.join(left_out)} left out: not all targets have finished it"] if left_out else []
    return {name: Measurement([runs[key] for key in common]) for name, runs in whole.items()}, notes


def _within(folder: Path) -> tuple[list[tuple[Path, list[Path]]], dict[str, str]]:
    """The targets in a folder of `abatch compare`, in its order, and those that failed."""
    try:
        within = [(target, _rounds(target)) for target in sorted(folder.iterdir()) if target.is_dir()]
    except OSError as error:
        raise ConfigurationError(f"cannot read {folder}: {error.strerror}") from error
    within = [(target, rounds) for target, rounds in within if rounds]
    if not within:
        raise ConfigurationError(f"{folder} is not a run folder: there is no readable {CONFIG} in it")
    try:
        saved = msgspec.json.decode((folder / COMPARISON).read_bytes(), type=Comparison)
    except (OSError, *UNREADABLE):
        # The one that was measured first comes first: the others are held against it.
        return sorted(within, key=lambda item: _started(item[1][0])), {}
    order = [saved.first, *(target.name for target in saved.targets)]
    known = [(target, rounds) for name in order for target, rounds in within if target.name == name]
    return known, saved.failed


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


def named_urls(values: Sequence[str]) -> dict[str, str]:
    """URLs by the names that they are to go by: `NAME=URL`, else their host and port.

    Raises:
        ConfigurationError: one of them is no URL, or two have the same name.
    """
    found: dict[str, str] = {}
    for value in values:
        match = _NAMED_URL.fullmatch(value)
        url = match[2] if match else value
        normalise_url(url)
        parts = urlsplit(url)
        name = (
            match[1]
            if match
            else _UNSAFE.sub("-", f"{parts.hostname}-{parts.port}" if parts.port else f"{parts.hostname}")
        )
        if name == COMPARISON:
            raise ConfigurationError(f"a server cannot be called {COMPARISON}: that file is beside its folder")
        if name in found:
            raise ConfigurationError(f"two servers are called {name}: name them, as --url new=URL --url old=URL")
        found[name] = url
    return found


def batching_modes(text: str) -> list[str]:
    """Modes with commas between them.

    Raises:
        ConfigurationError: there is no such one, or one twice.
    """
    modes = [mode.strip() for mode in text.split(",")]
    if len(set(modes)) < len(modes) or not set(modes) <= set(BATCHING_MODES):
        raise ConfigurationError(f"--batching must be some of {','.join(BATCHING_MODES)}, not {text!r}")
    return modes


def unique_names(names: Sequence[str]) -> list[str]:
    """The same names, numbered where they are the same."""
    counts: Mapping[str, int] = {name: names.count(name) for name in names}
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if counts[name] == 1 else f"{name} ({seen[name]})")
    return unique


def refuse_live_options(
    traffic: Mapping[str, Any], engine: Mapping[str, Any], given: Mapping[str, tuple[Any, Any]]
) -> None:
    """Raise `ConfigurationError` where an option says how to measure what has been measured.

    Args:
        traffic: The traffic options.
        engine: The engine options.
        given: By flag, the value and the default of the others.
    """
    words = [
        f"--{option.name.replace('_', '-')}" for option in TRAFFIC_OPTIONS if traffic[option.name] != option.default
    ]
    words += engine_arguments({**engine, "batching": "async"})
    words += [flag for flag, (value, default) in given.items() if value != default]
    if words:
        raise ConfigurationError(f"{words[0]} is for what is measured now; saved runs are compared as they are")


def live_targets(
    urls: Sequence[str],
    batching: str | None,
    model: str | None,
    engine: dict[str, Any],
    *,
    api_key: str | None,
    headers: dict[str, str],
    seed: int,
    timeout_s: float,
    startup_timeout_s: float,
    real_time: bool,
    step_log: bool,
) -> dict[str, Source]:
    """What is to be measured, by name.

    Raises:
        ConfigurationError: there are fewer than two, or an option is for others.
    """
    modes = batching_modes(batching or ",".join(BATCHING_MODES)) if batching is not None or not urls else []
    tokenizer = None if modes else engine["tokenizer"]
    if tokenizer is not None:
        load_text_tokenizer(tokenizer)  # one that is none is found before anything is sent
    sources: dict[str, Source] = {
        name: RemoteServer(
            url=url, model=model, api_key=api_key, headers=headers, timeout_s=timeout_s, tokenizer=tokenizer
        )
        for name, url in named_urls(urls).items()
    }
    if urls and modes and is_simulated(engine["device"]):
        raise ConfigurationError("a simulated device and a server do not compare: leave out --device or --url")
    if not modes and (words := engine_arguments({**engine, "batching": "async", "tokenizer": None})):
        raise ConfigurationError(f"{words[0]} is for our own engine; the servers at --url have their own settings")
    if not urls and headers:
        raise ConfigurationError("--header is for servers at --url")
    for mode in modes:
        if mode in sources:
            raise ConfigurationError(f"--url {mode}=... has the name of a batching mode")
        sources[mode] = own_engine(
            model,
            seed,
            {**engine, "batching": mode},
            real_time=real_time,
            has_step_log=step_log,
            timeout_s=timeout_s,
            startup_timeout_s=startup_timeout_s,
        )
    if len(sources) < 2:
        raise ConfigurationError("compare needs two targets at least: --url A --url B, or --batching window,async")
    return sources
