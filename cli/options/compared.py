"""What `abatch compare` measures: servers at URLs, batching modes of our own engine."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from ...engine.errors import ConfigurationError
from ...engine.scheduling.limits import BATCHING_MODES
from ...engine.simulation.device_profile import is_simulated
from ...reports.run.folder import COMPARISON
from ...workloads.targets.server_url import ServerUrl
from ..measuring.targets import Source
from .connecting import without_connection
from .engine import EngineOptions
from .named_target import is_target, with_named_target
from .target import TargetOptions

_NAMED_URL = re.compile(r"([A-Za-z0-9][\w.-]{0,39})=(.+)", re.DOTALL)
_UNSAFE = re.compile(r"[^\w.-]+")


def live_targets(
    urls: Sequence[str], batching: str | None, target: TargetOptions, engine: EngineOptions, seed: int
) -> dict[str, Source]:
    """What is to be measured, by name.

    Args:
        urls: As `URL` or `NAME=URL`.
        batching: Batching modes with commas; None: all of them, unless there are URLs.
        target: The options that all targets share.
        engine: Those of our own engine, in whichever mode.
        seed: Of its random weights.

    Raises:
        ConfigurationError: there are fewer than two, or an option applies to none of them.
    """
    modes = batching_modes(batching or ",".join(BATCHING_MODES)) if batching is not None or not urls else []
    if urls and modes and is_simulated(engine.device):
        raise ConfigurationError("a simulated device and a server do not compare: leave out --device or --url")
    # Where both are measured, an option of one kind is not a mistake: it applies to some of the targets.
    of_servers = EngineOptions(tokenizer=None) if modes else engine
    of_engine = without_connection(target) if urls else target
    if urls and modes:
        target = replace(target, real_time=False, step_log=False, startup_timeout_s=TargetOptions().startup_timeout_s)
    servers = {name: with_named_target(replace(target, url=url)) for name, url in named_urls(urls).items()}
    sources = {name: server.source(of_servers, seed) for name, server in servers.items()}
    for mode in modes:
        if mode in sources:
            raise ConfigurationError(f"--url {mode}=... has the name of a batching mode")
        sources[mode] = of_engine.source(replace(engine, batching=mode), seed)
    if len(sources) < 2:
        raise ConfigurationError("compare needs two targets at least: --url A --url B, or --batching window,async")
    return sources


def named_urls(values: Sequence[str]) -> dict[str, str]:
    """URLs, or names of targets, by the names that they go by: `NAME=URL`, else the target's, or host and port.

    Raises:
        ConfigurationError: one of them is not a URL, or two have the same name.
    """
    found: dict[str, str] = {}
    for value in values:
        name, url = name_and_url(value)
        if is_target(url):
            name = name or url
        else:
            ServerUrl.parse(url)
        parts = urlsplit(url)
        if not name:
            name = _UNSAFE.sub("-", f"{parts.hostname}-{parts.port}" if parts.port else f"{parts.hostname}")
        if name == COMPARISON:
            raise ConfigurationError(f"a server cannot be called {COMPARISON}: that file is beside its folder")
        if name in found:
            raise ConfigurationError(f"two servers are called {name}: name them, as in --url new=URL --url old=URL")
        found[name] = url
    return found


def name_and_url(value: str) -> tuple[str, str]:
    """Both parts of `NAME=URL`; the name is empty where only a URL is given."""
    match = _NAMED_URL.fullmatch(value)
    return (match[1], match[2]) if match else ("", value)


def batching_modes(text: str) -> list[str]:
    """Modes with commas between them.

    Raises:
        ConfigurationError: one of them is unknown, or named twice.
    """
    modes = [mode.strip() for mode in text.split(",")]
    if len(set(modes)) < len(modes) or not set(modes) <= set(BATCHING_MODES):
        raise ConfigurationError(f"--batching must be some of {','.join(BATCHING_MODES)}, each once, not {text!r}")
    return modes
