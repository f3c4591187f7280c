"""What config.json holds: what was asked for, of which software, on which machine."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Sequence
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from ... import __version__
from ...workloads.bounds import Amount, Number
from ..recording.goodput import parse_objectives
from ..recording.idle_model import IdleModel
from ..recording.recorder import JUDGED, Recorder
from ..summary.cache import CacheSummary, Priming
from ..summary.summary import DEFAULT_PERCENTILES, SCHEMA_VERSION, Percentiles, Summary
from .command import Command

_PROVENANCE_PACKAGES = ("aiohttp", "hdrhistogram", "torch", "transformers")


class RunConfig(msgspec.Struct, kw_only=True):
    """What config.json holds: enough to say what a run was and to summarise its results again.

    `options` are the command's options as given; secrets are not among them.
    """

    schema_version: int = SCHEMA_VERSION
    started_at: str = ""
    workload: str = ""
    verdict_class: str = "all"
    target: str = ""
    model: str = ""
    api: str = ""
    """Of a server, such as `responses`; empty in virtual time, and in runs before there was a choice."""
    simulated: bool = False
    seed: int = 0
    cache: str = ""
    """What a prefix cache may have seen of the texts (see `CacheMode`); empty in runs before there was a choice."""
    text_salt: str = ""
    """With the seed it decides the texts, and nothing else."""
    priming: Priming | None = None
    """What was sent before the run, with --cache warm."""
    origin_s: Number = 0.0
    """When the run began, by the clock that the engine's step log is in (if on the same machine)."""
    warmup_s: Amount = 0.0
    duration_s: Amount | None = None
    percentiles: Percentiles = msgspec.field(default_factory=lambda: list(DEFAULT_PERCENTILES))
    goodput: str | None = None
    steady_state: bool = False
    has_own_lengths: bool = False
    """Answers end where the model ends them: the server takes no ignore_eos, or was not to be sent any."""
    idle: IdleModel | None = None
    """What requests took before the run, on the idle server; None where it was not probed."""
    closed_loop: bool = False
    """Some sessions start only as others end."""
    traffic: dict[str, Any] = {}
    """What is sent: the options that say so, the trace's digest, and the version of what makes traffic of them. Runs
    that share all of it got the same traffic (see `comparison.same_traffic`)."""
    options: dict[str, Any] = {}
    provenance: dict[str, str] = {}
    warnings: list[str] = []
    command: Command | None = None
    """What repeats the run; None where nothing does, or an older version saved it."""

    @property
    def measured(self) -> tuple[float, float]:
        """From when to when throughput counts, in seconds since the run began."""
        return self.warmup_s, math.inf if self.duration_s is None else self.duration_s

    def new_recorder(self, measured: tuple[float, float] | None = None, timed: Sequence[str] = JUDGED) -> Recorder:
        """A recorder of this run with nothing recorded, of another part of it where that is given.

        `timed`: the metrics that it also keeps by time.
        """
        objectives = () if self.goodput is None else parse_objectives(self.goodput)
        return Recorder(measured or self.measured, objectives, timed, self.idle)

    def new_summary(self) -> Summary:
        """A summary with this run's labels and nothing recorded."""
        return Summary(
            simulated=self.simulated,
            target=self.target,
            model=self.model,
            workload=self.workload,
            seed=self.seed,
            verdict_class=self.verdict_class,
            closed_loop=self.closed_loop,
            percentiles=self.percentiles,
            has_own_lengths=self.has_own_lengths,
            warnings=list(self.warnings),
            cache=CacheSummary(mode=self.cache, priming=self.priming) if self.cache else None,
        )


def provenance() -> dict[str, str]:
    """Versions and machine, for people who compare runs months later. No host name, no user name."""
    versions = {"abatch": __version__, "python": platform.python_version()}
    for package in _PROVENANCE_PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    machine = {"platform": platform.platform(), "cpu": _cpu_name(), "cpu_count": str(os.cpu_count())}
    return versions | machine


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def started_now() -> str:
    """The current time for `RunConfig.started_at`."""
    return datetime.now().astimezone().isoformat(timespec="seconds")
