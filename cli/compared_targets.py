"""What `abatch compare` is asked to compare: saved runs, servers at URLs, batching modes of our own engine."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..engine.config import BATCHING_MODES
from ..engine.errors import ConfigurationError
from ..reports.measurement import Measurement
from ..reports.run_file import CONFIG, RunReader
from ..workloads.http_target import normalise_url
from .options import engine_arguments
from .own_engine import own_engine
from .targets import RemoteServer, Source
from .traffic import TRAFFIC_OPTIONS

ROUND = "round-"
_NAMED_URL = re.compile(r"([A-Za-z0-9][\w.-]{0,39})=(https?://.*)", re.DOTALL)
_UNSAFE = re.compile(r"[^\w.-]+")


def saved_targets(folders: Sequence[Path]) -> dict[str, Measurement]:
    """Saved runs by name. A folder that `abatch compare` wrote stands for all targets in it, rounds and all.

    Raises:
        ConfigurationError: one of them is no run, or there are fewer than two.
    """
    found: list[tuple[Path, list[Path]]] = []
    for folder in folders:
        if (folder / CONFIG).exists() or not folder.is_dir():
            found.append((folder, [folder]))
        elif rounds := _rounds(folder):
            found.append((folder, rounds))
        else:
            within = [(target, _rounds(target)) for target in sorted(folder.iterdir()) if target.is_dir()]
            found += [(target, rounds) for target, rounds in _in_order(folder, within) if rounds]
            if not any(rounds for _, rounds in within):
                raise ConfigurationError(f"{folder} is not a run folder: there is no readable {CONFIG} in it")
    if len(found) < 2:
        raise ConfigurationError("compare needs two runs at least, or a folder that abatch compare wrote")
    names = unique_names([folder.resolve().name for folder, _ in found])
    return {
        name: Measurement([RunReader(path) for path in rounds]) for name, (_, rounds) in zip(names, found, strict=True)
    }


def _rounds(folder: Path) -> list[Path]:
    found = [path for path in folder.glob(f"{ROUND}*") if (path / CONFIG).exists()]
    return sorted(found, key=lambda path: (len(path.name), path.name))


def _in_order(folder: Path, within: Iterable[tuple[Path, list[Path]]]) -> list[tuple[Path, list[Path]]]:
    """The target that was measured first comes first: the others are held against it."""

    def started(item: tuple[Path, list[Path]]) -> str:
        return RunReader(item[1][0]).config.started_at if item[1] else ""

    return sorted(within, key=lambda item: (started(item), item[0].name))


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
        if name in found:
            raise ConfigurationError(f"two servers are called {name}: name them, as --url new={url} --url old=...")
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
    traffic: dict[str, Any], engine: dict[str, Any], *, url: list[str] | None, batching: str | None, output: Path | None
) -> None:
    """Options that say how to measure mean nothing for what has been measured."""
    words = [
        f"--{option.name.replace('_', '-')}" for option in TRAFFIC_OPTIONS if traffic[option.name] != option.default
    ]
    words += engine_arguments({**engine, "batching": "async"})
    words += ["--url"] * bool(url) + ["--batching"] * (batching is not None) + ["--output"] * (output is not None)
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
    sources: dict[str, Source] = {
        name: RemoteServer(url=url, model=model, api_key=api_key, headers=headers, timeout_s=timeout_s)
        for name, url in named_urls(urls).items()
    }
    modes = batching_modes(batching or ",".join(BATCHING_MODES)) if batching is not None or not urls else []
    if not modes and (words := engine_arguments({**engine, "batching": "async"})):
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
    if len({source.is_virtual for source in sources.values()}) > 1:
        raise ConfigurationError("a simulated device in virtual time and a server do not compare: give --real-time")
    return sources
