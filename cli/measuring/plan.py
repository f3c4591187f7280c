"""Everything a run needs, checked before anything is started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...reports.run.command import Command
from ...reports.run.config import RunConfig, provenance, started_now
from ...reports.summary.client import ClientFloor
from ...reports.summary.summary import DEFAULT_PERCENTILES
from ...workloads.workload import ClosedLoop
from .targets import Source
from .traffic import Traffic

MOST_WORKERS = 64
SERVER_METRICS_S = 1.0
"""Seconds between scrapes of the server's metrics, unless another interval is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A run that is to be.

    Attributes:
        folder: Where it is saved; None: runs/DATE-TIME-WORKLOAD.
        options: What config.json keeps of how it was asked for, beside what it keeps of the traffic.
        percentiles: Columns of the report's table, between 0 and 100.
        goodput: Objectives as text (see `parse_objectives`).
        steady_state: Report only the steady-state part of the run.
        workers: Processes that send it between them; 1 is this process alone.
        floor: What the client itself adds on this machine, where it has been calibrated; None in virtual time.
        server_metrics_s: Seconds between scrapes of the server's metrics; None: no scrapes.
        metrics_url: Where they are, if not at the target's own /metrics.
        idle_probe: Requests that are sent to the idle server before the run, one at a time; 0: none.
        command: What repeats it, but for the words of its traffic; None: no command does.
    """

    traffic: Traffic
    source: Source
    folder: Path | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    percentiles: tuple[float, ...] = DEFAULT_PERCENTILES
    goodput: str | None = None
    steady_state: bool = False
    workers: int = 1
    floor: ClientFloor | None = None
    server_metrics_s: float | None = None
    metrics_url: str | None = None
    idle_probe: int = 0
    command: Command | None = None

    def run_config(self) -> RunConfig:
        """What config.json holds of it, as of now."""
        traffic = self.traffic
        return RunConfig(
            started_at=started_now(),
            workload=traffic.workload.name,
            verdict_class=traffic.workload.verdict_class,
            seed=traffic.seed,
            cache=traffic.recipe.cache,
            text_salt=traffic.text_salt,
            warmup_s=traffic.limits.warmup_s,
            duration_s=traffic.limits.duration_s,
            closed_loop=any(isinstance(stream.pacing, ClosedLoop) for stream in traffic.workload.streams),
            percentiles=list(self.percentiles),
            goodput=self.goodput,
            steady_state=self.steady_state,
            traffic=traffic.fingerprint,
            options={**traffic.saved, **self.options},
            provenance=provenance(),
            command=None if self.command is None else traffic.asked_for_by(self.command),
        )
