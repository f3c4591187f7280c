"""The options that say what `abatch compare` puts side by side, and how closely it looks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from typer import Option

from ...engine.errors import ConfigurationError
from ...engine.scheduling.limits import BATCHING_MODES
from ...engine.timing.durations import format_duration
from ...reports.comparison.comparison import DEFAULT_EFFECT
from ...reports.comparison.difference import Floor
from ...reports.run.folder import COMPARISON
from ...workloads.targets.server_url import ServerUrl, with_scheme
from .judging import RuleOptions
from .named_target import is_target
from .times import time_option
from .traffic import TrafficOptions

DEFAULT_DURATION_S = 30.0
_DEFAULT_ROUNDS = 4
_NAMED_URL = re.compile(r"([A-Za-z0-9][\w.-]{0,39})=(.+)", re.DOTALL)
_UNSAFE = re.compile(r"[^\w.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedOptions:
    """The targets."""

    panel: ClassVar[str] = "Target"

    url: Annotated[
        list[str] | None,
        Option("--url", "--base-url", help="Server to measure, as URL or NAME=URL; repeatable."),
    ] = None
    vary: Annotated[
        list[str] | None,
        Option(
            metavar="OPTION=VALUES",
            help="Values of an option of our engine, with commas, such as park=keep,auto; repeatable: all combinations "
            "are compared.",
        ),
    ] = None
    batching: Annotated[
        str | None,
        Option(
            help="Short for --vary batching=... Default without --url and --vary: " + ",".join(BATCHING_MODES) + ".",
        ),
    ] = None
    metrics_url: Annotated[
        list[str] | None,
        Option(
            metavar="NAME=URL",
            help="Where the metrics of the server called NAME are; repeatable. Default: /metrics of its --url.",
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LookOptions:
    """How often the targets are measured, and what counts as a difference."""

    panel: ClassVar[str] = "Comparison"

    rounds: Annotated[
        int, Option(min=1, max=1000, help="How often each target is measured, in turns (A B, B A, ...).")
    ] = _DEFAULT_ROUNDS
    effect: Annotated[float, Option(min=0.01, max=10, help="Smallest p99 change worth detecting, as a fraction.")] = (
        DEFAULT_EFFECT
    )
    floor: Annotated[float, Option(min=0, max=1, help="Ignore changes below this fraction ...")] = Floor().share
    floor_ms: Annotated[
        float,
        time_option("--floor-ms", unit="ms", help=f"... and below this time (milliseconds). Default: {Floor().ms:g}."),
    ] = Floor().ms
    has_answers_checked: Annotated[
        bool,
        Option(
            "--check-answers",
            help="Before the rounds, send all targets the same greedy prompts and report whether their answers match.",
        ),
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRules(RuleOptions):
    """Rules of which the first target is the baseline."""

    require: Annotated[
        list[str] | None,
        Option(
            help="Rule that every target but the first must hold; baseline is the first: 'ttft.p99 <= baseline + 10%'. "
            "Repeatable."
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedTraffic(TrafficOptions):
    """The traffic of each run of a comparison."""

    duration_s: Annotated[
        float | None,
        time_option(
            "--duration",
            "-d",
            help="How long each run sends, such as 90s or 2m. Default: "
            f"{format_duration(DEFAULT_DURATION_S)}; of a trace, all of it.",
        ),
    ] = None


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


def metrics_urls(values: Sequence[str], servers: Mapping[str, str]) -> dict[str, str]:
    """The addresses of metrics, by the name of their server.

    Args:
        values: Each as `NAME=URL`.
        servers: Their URLs, by name.

    Raises:
        ConfigurationError: a name is missing, none of the servers', or there twice.
    """
    found: dict[str, str] = {}
    for value in values:
        name, url = name_and_url(value)
        if name not in servers:
            known = f"NAME is one of {', '.join(servers)}" if servers else "they are of servers at --url"
            raise ConfigurationError(f"--metrics-url {value} names no server: write --metrics-url NAME=URL ({known})")
        if name in found:
            raise ConfigurationError(f"--metrics-url is there twice for {name}: give one")
        found[name] = with_scheme(url)
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
