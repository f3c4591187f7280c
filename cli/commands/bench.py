"""`abatch bench`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from ...engine.errors import ConfigurationError
from ...reports.calibration.file import known_floor
from ...reports.renderings.console import print_judgements, print_summary
from ...reports.renderings.shown_run import shown_target
from ...reports.renderings.timeline import check_writable, write_timeline
from ...reports.run.folder import RunReader
from ...reports.run.measurement import Measurement
from ...workloads.targets.exact_text import load_text_tokenizer
from ...workloads.targets.server_url import hide_credentials, normalise_metrics_url, normalise_url
from ..exit_codes import ExitCode
from ..measuring.measure import SERVER_METRICS_S, Plan, run
from ..measuring.own_engine import own_engine
from ..measuring.progress import Progress
from ..measuring.targets import RemoteServer, Source
from ..measuring.workers import MOST_WORKERS
from ..options.headers import parse_headers
from ..options.judging import RULE_OPTIONS, exit_code, make_judging
from ..options.options import ENGINE_OPTIONS, clean_api_key, engine_arguments, with_options
from ..options.rendering import (
    RENDERING_OPTIONS,
    check_renderings,
    has_renderings,
    report_console,
    tell_github,
    write_renderings,
)
from ..options.report_options import ReportOptions, parse_percentiles
from ..options.traffic import TRAFFIC_OPTIONS, make_traffic
from .sweep import sweep_rates

_TARGET = "Target"
_SWEEP = "Sweep"


@with_options(traffic=TRAFFIC_OPTIONS, engine=ENGINE_OPTIONS, rules=RULE_OPTIONS, rendering=RENDERING_OPTIONS)
def bench(
    model: Annotated[
        str | None,
        typer.Argument(
            help="Model to serve and measure, as in abatch serve; for a simulated device a shape. Not with --url. "
            "Default: tiny, or llama-3.1-8b."
        ),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option("--url", "--base-url", help="Measure this server instead.", rich_help_panel=_TARGET),
    ] = None,
    model_name: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Model to ask for. Default: the first.", rich_help_panel=_TARGET),
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(envvar="ABATCH_API_KEY", show_envvar=True, help="Bearer token.", rich_help_panel=_TARGET),
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option(help="'Name: value' to send along; repeatable.", rich_help_panel=_TARGET)
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.001, help="Seconds a request may take.", rich_help_panel=_TARGET)
    ] = 600.0,
    startup_timeout: Annotated[
        float, typer.Option(min=1, help="Seconds our own server may take to load.", rich_help_panel=_TARGET)
    ] = 600.0,
    server_metrics_interval: Annotated[
        float,
        typer.Option(
            help="Seconds between looks at the server's /metrics, where it has some that are known, and at the GPUs of "
            "this machine, if the server runs here and abatch\\[gpu] is installed. 0: never.",
            rich_help_panel=_TARGET,
        ),
    ] = SERVER_METRICS_S,
    metrics_url: Annotated[
        str | None, typer.Option(help="Where they are. Default: /metrics of --url.", rich_help_panel=_TARGET)
    ] = None,
    no_sessions: Annotated[
        bool,
        typer.Option("--no-sessions", help="Do not tell abatch serve which requests are of one session."),
    ] = False,
    real_time: Annotated[
        bool,
        typer.Option("--real-time", help="Simulated device: emulate it behind HTTP.", rich_help_panel=_TARGET),
    ] = False,
    step_log: Annotated[
        bool, typer.Option("--step-log", help="Log every step of our own engine into the run folder.")
    ] = False,
    timeline: Annotated[
        Path | None, typer.Option(help="Write a Chrome trace of the run, for Perfetto. Implies --step-log.")
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, max=MOST_WORKERS, help="Processes that send, for rates that one cannot keep up with.")
    ] = 1,
    percentiles: Annotated[str, typer.Option(help="Columns of the table.")] = "50,90,99,99.9",
    goodput: Annotated[
        str | None, typer.Option(help="Count requests that meet all of these, ms: 'ttft:200,tpot:50' (max_gap, e2e).")
    ] = None,
    steady_state: Annotated[
        bool, typer.Option("--steady-state", help="Only the part counts in which requests in flight are steady.")
    ] = False,
    sweep: Annotated[
        bool,
        typer.Option("--sweep", help="Find the highest --request-rate that meets --goodput.", rich_help_panel=_SWEEP),
    ] = False,
    sweep_share: Annotated[
        float, typer.Option(min=0.01, max=1, help="Share of requests that must meet it.", rich_help_panel=_SWEEP)
    ] = 0.99,
    max_rate: Annotated[float, typer.Option(min=0.001, help="Try no higher rate.", rich_help_panel=_SWEEP)] = 1000.0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Run folder. Default: runs/DATE-TIME-WORKLOAD.")
    ] = None,
    *,
    traffic: dict[str, Any],
    engine: dict[str, Any],
    rules: dict[str, Any],
    rendering: dict[str, Any],
) -> None:
    """Run a workload against a server, save the run, print the verdict.

    Without --url, serves MODEL on a free loopback port and measures that, through HTTP like any other server.

    A simulated device needs no server: hours of traffic run in minutes, and the same seed gives the same numbers.
    """
    source: Source
    options = {**traffic, "model": model, "timeout": timeout, "no_sessions": no_sessions}
    options |= {"workers": workers, "percentiles": percentiles, "goodput": goodput, "steady_state": steady_state}
    options |= {"server_metrics_interval": server_metrics_interval}
    server_metrics_s = _server_metrics_s(server_metrics_interval, metrics_url, url)
    report = ReportOptions(percentiles=parse_percentiles(percentiles), goodput=goodput, steady_state=steady_state)
    headers = parse_headers(header or [])
    if url is None:
        if headers or model_name is not None:
            what = "--header" if headers else "--model (the name to ask for; what to serve is the argument MODEL)"
            raise ConfigurationError(f"{what} is for a server at --url")
        source = own_engine(
            model,
            traffic["seed"],
            engine,
            real_time=real_time,
            has_step_log=step_log or timeline is not None,
            tells_sessions=not no_sessions,
            timeout_s=timeout,
            startup_timeout_s=startup_timeout,
        )
        options |= {**engine, "real_time": real_time}
    else:
        normalise_url(url)
        tokenizer = engine["tokenizer"]
        if tokenizer is not None:
            load_text_tokenizer(tokenizer)  # one that is none is found before anything is sent
        _refuse_with_url(model, engine | {"tokenizer": None}, real_time=real_time, step_log=step_log)
        source = RemoteServer(
            url=url,
            model=model_name,
            api_key=clean_api_key(api_key),
            headers=headers,
            tells_sessions=not no_sessions,
            timeout_s=timeout,
            tokenizer=tokenizer,
        )
        options |= {"tokenizer": tokenizer, "url": hide_credentials(url), "model_name": model_name}
        options |= {"metrics_url": None if metrics_url is None else hide_credentials(metrics_url)}
    if timeline is not None:
        check_writable(timeline, output)
    if source.is_virtual and workers > 1:
        raise ConfigurationError("--workers is for real time; in virtual time one process is never late")
    check_renderings(rendering, output)
    planned = make_traffic(traffic)
    judging = make_judging(rules, planned.workload.name)
    options |= judging.options()
    plan = Plan(
        traffic=planned,
        source=source,
        folder=output,
        options=options,
        report=report,
        workers=workers,
        floor=None if source.is_virtual else known_floor(workers),
        server_metrics_s=server_metrics_s,
        metrics_url=None if metrics_url is None else normalise_metrics_url(metrics_url),
    )
    progress = Progress(Console(stderr=True, highlight=False, markup=False, emoji=False))
    console = report_console(rendering)
    if sweep:
        if judging.rules or timeline is not None or has_renderings(rendering):
            raise ConfigurationError(
                "--sweep has no use for --require, --timeline or reports: each point is a run of its own"
            )
        raise typer.Exit(sweep_rates(plan, traffic, sweep_share, max_rate, progress, console))
    try:
        summary, folder = run(plan, progress)
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    reader = RunReader(folder)
    measurement = Measurement([reader], summary)
    print_summary(console, summary, histograms=measurement.histograms)
    console.print(f"saved in {folder}", soft_wrap=True)
    judgements = judging.judge(measurement)
    print_judgements(console, judgements)
    shown = [shown_target(folder.name, measurement, judgements)]
    for note in judging.notes(measurement.config):
        console.print(Text(f"note: {note}", style="yellow"))
    if timeline is not None:
        write_timeline(reader, timeline)
        console.print(f"timeline in {timeline} (open it at https://ui.perfetto.dev)", soft_wrap=True)
    write_renderings(rendering, shown, console)
    tell_github(shown, os.environ, console)
    raise typer.Exit(exit_code(summary, judgements))


def _refuse_with_url(model: str | None, engine: dict[str, Any], *, real_time: bool, step_log: bool) -> None:
    if model is not None:
        raise ConfigurationError("give MODEL to measure our own engine, or --url to measure a server; not both")
    words = [*engine_arguments(engine), *["--real-time"] * real_time, *["--step-log"] * step_log]
    if words:
        raise ConfigurationError(f"{words[0]} is for our own engine; the server at --url has its own settings")


def _server_metrics_s(interval_s: float, metrics_url: str | None, url: str | None) -> float | None:
    if interval_s != 0 and not 0.1 <= interval_s <= 3600:
        raise ConfigurationError(
            f"--server-metrics-interval must be 0.1 to 3600 seconds, or 0 for never, not {interval_s:g}"
        )
    if metrics_url is not None:
        if url is None:
            raise ConfigurationError("--metrics-url is for a server at --url; our own is known to be at /metrics")
        if interval_s == 0:
            raise ConfigurationError("--metrics-url has no use with --server-metrics-interval 0: leave one of them out")
        normalise_metrics_url(metrics_url)
    return interval_s or None
