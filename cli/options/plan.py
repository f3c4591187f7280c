"""The plan of a single run, made of its options: that of `abatch bench`, and of `bench` in Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ...engine.errors import ConfigurationError
from ...reports.calibration.file import known_floor
from ...reports.run.command import Command
from ...workloads.targets.server_url import hide_credentials
from ..measuring.plan import Plan
from ..measuring.targets import RemoteServer, Source
from .applies import refuse
from .engine import EngineOptions
from .recipe import make_traffic
from .repeating import repeating
from .report import ReportOptions, parse_percentiles
from .situations import Situation
from .target import TargetOptions
from .traffic import TrafficOptions


def plan_run(
    target: TargetOptions,
    traffic: TrafficOptions,
    engine: EngineOptions,
    report: ReportOptions,
    *,
    workers: int = 1,
    folder: Path | None = None,
) -> Plan:
    """Plan a run, checked as far as it can be before anything starts.

    Args:
        target: What to measure.
        traffic: What to send.
        engine: How our own engine serves, where there is no URL.
        report: What the summary shows.
        workers: Sender processes.
        folder: Where to save it; None: runs/DATE-TIME-WORKLOAD.

    Raises:
        ConfigurationError: a value is wrong, an option does not apply, or the engine is not installed.
    """
    server_metrics_s = target.server_metrics_s
    source = target.source(engine, traffic.seed)
    if traffic.max_in_flight is not None and workers > traffic.max_in_flight >= 1:
        raise ConfigurationError(
            f"--max-in-flight {traffic.max_in_flight} leaves some of --workers {workers} nothing to send: use at most "
            "as many workers"
        )
    if source.is_virtual and workers > 1:
        refuse(Situation.VIRTUAL_TIME, ["--workers"])
    return Plan(
        traffic=make_traffic(traffic, target.models),
        source=source,
        folder=folder,
        options=_saved(target, engine, report, workers),
        percentiles=parse_percentiles(report.percentiles),
        goodput=report.goodput,
        steady_state=report.steady_state,
        workers=workers,
        floor=None if source.is_virtual else known_floor(workers),
        server_metrics_s=server_metrics_s,
        metrics_url=target.clean_metrics_url,
        idle_probe=target.idle_probe,
        command=_command(target, engine, report, source, workers),
    )


def _command(
    target: TargetOptions, engine: EngineOptions, report: ReportOptions, source: Source, workers: int
) -> Command:
    if isinstance(source, RemoteServer):
        target = replace(target, url=source.connection.url)  # wherever it was named
    further = ("--workers", str(workers)) if workers > 1 else ()
    return repeating("bench", target, engine, report, further=further)


def _saved(target: TargetOptions, engine: EngineOptions, report: ReportOptions, workers: int) -> Mapping[str, object]:
    """What config.json keeps of them: no secrets."""
    saved: dict[str, object] = {
        "model": target.model if target.url is None else None,
        "timeout": target.timeout_s,
        "no_sessions": target.no_sessions,
        "no_ignore_eos": target.no_ignore_eos,
        "workers": workers,
        "percentiles": report.percentiles,
        "goodput": report.goodput,
        "steady_state": report.steady_state,
        "server_metrics_interval": target.server_metrics_interval_s,
        "idle_probe": target.idle_probe,
    }
    if target.url is None:
        return {**saved, **engine.saved(), "real_time": target.real_time}
    metrics_url = None if target.metrics_url is None else hide_credentials(target.metrics_url)
    return {
        **saved,
        "tokenizer": engine.tokenizer,
        "url": hide_credentials(target.url),
        "model_name": target.model,
        "metrics_url": metrics_url,
        **target.saved_request(),
    }
