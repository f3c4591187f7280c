"""`abatch bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ..engine.errors import ConfigurationError
from ..reports.calibration_file import known_floor
from ..reports.console import print_summary
from ..reports.gates import Judgement, Outcome, parse_rule
from ..reports.run_file import RunReader
from ..reports.summary import Summary
from ..reports.timeline import check_writable, write_timeline
from ..workloads.exact_text import load_text_tokenizer
from ..workloads.http_target import REQUEST_ID_HEADER, hide_credentials, normalise_url
from .exit_codes import ExitCode
from .measure import Plan, run
from .options import ENGINE_OPTIONS, clean_api_key, engine_arguments, with_options
from .own_engine import own_engine
from .progress import Progress
from .report_options import ReportOptions, parse_percentiles
from .sweep import sweep_rates
from .targets import RemoteServer, Source
from .traffic import TRAFFIC_OPTIONS, make_traffic
from .workers import MOST_WORKERS

_TARGET = "Target"
_SWEEP = "Sweep"


@with_options(traffic=TRAFFIC_OPTIONS, engine=ENGINE_OPTIONS)
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
    require: Annotated[
        list[str] | None,
        typer.Option(help="Rule that must hold, as 'ttft.p99/p50 <= 3'; exit 3 if not, 4 if unknown. Repeatable."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Run folder. Default: runs/DATE-TIME-WORKLOAD.")
    ] = None,
    *,
    traffic: dict[str, Any],
    engine: dict[str, Any],
) -> None:
    """Run a workload against a server, save the run, print the verdict.

    Without --url, serves MODEL on a free loopback port and measures that, through HTTP like any other server.

    A simulated device needs no server: hours of traffic run in minutes, and the same seed gives the same numbers.
    """
    source: Source
    options = {**traffic, "model": model, "timeout": timeout, "require": require, "no_sessions": no_sessions}
    options |= {"workers": workers, "percentiles": percentiles, "goodput": goodput, "steady_state": steady_state}
    report = ReportOptions(percentiles=parse_percentiles(percentiles), goodput=goodput, steady_state=steady_state)
    headers = _headers(header or [])
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
    if timeline is not None:
        check_writable(timeline, output)
    if source.is_virtual and workers > 1:
        raise ConfigurationError("--workers is for real time; in virtual time one process is never late")
    rules = [parse_rule(text) for text in require or []]
    plan = Plan(
        traffic=make_traffic(traffic),
        source=source,
        folder=output,
        options=options,
        report=report,
        workers=workers,
        floor=None if source.is_virtual else known_floor(workers),
    )
    progress = Progress(Console(stderr=True, highlight=False, markup=False, emoji=False))
    console = Console(highlight=False, markup=False, emoji=False)
    if sweep:
        if require or timeline is not None:
            raise ConfigurationError("--sweep has no use for --require or --timeline: each point is a run of its own")
        raise typer.Exit(sweep_rates(plan, traffic, sweep_share, max_rate, progress, console))
    try:
        summary, folder = run(plan, progress)
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    judgements = [rule.judge(summary) for rule in rules]
    print_summary(console, summary, judgements)
    console.print(f"saved in {folder}", soft_wrap=True)
    if timeline is not None:
        write_timeline(RunReader(folder), timeline)
        console.print(f"timeline in {timeline} (open it at https://ui.perfetto.dev)", soft_wrap=True)
    raise typer.Exit(_exit_code(summary, judgements))


def _refuse_with_url(model: str | None, engine: dict[str, Any], *, real_time: bool, step_log: bool) -> None:
    if model is not None:
        raise ConfigurationError("give MODEL to measure our own engine, or --url to measure a server; not both")
    words = [*engine_arguments(engine), *["--real-time"] * real_time, *["--step-log"] * step_log]
    if words:
        raise ConfigurationError(f"{words[0]} is for our own engine; the server at --url has its own settings")


def _headers(lines: list[str]) -> dict[str, str]:
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip() or not line.isprintable():
            raise ConfigurationError("--header must be 'Name: value'")
        if name.strip().lower() == REQUEST_ID_HEADER.lower():
            raise ConfigurationError(
                f"--header {REQUEST_ID_HEADER} is ours: each request has its own, in results.jsonl"
            )
        headers[name.strip()] = value.strip()
    return headers


def _exit_code(summary: Summary, judgements: list[Judgement]) -> int:
    if not summary.is_complete:
        return ExitCode.INTERRUPTED
    if summary.succeeded == 0:
        return ExitCode.FAILED
    outcomes = {judgement.outcome for judgement in judgements}
    if Outcome.FAIL in outcomes:
        return ExitCode.RULE_FAILED
    return ExitCode.RULE_INCONCLUSIVE if Outcome.INCONCLUSIVE in outcomes else ExitCode.OK
