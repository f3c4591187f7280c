"""`abatch bench`."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ..engine.errors import ConfigurationError
from ..engine.launch import launched_server
from ..reports.console import print_summary
from ..reports.gates import Judgement, Outcome, Rule, parse_rule
from ..reports.run_file import RunConfig, RunWriter, default_folder, provenance, started_now
from ..reports.summary import Summary
from ..workloads.catalog import DEFAULT_WORKLOAD, WORKLOADS, describe, make_workload
from ..workloads.distributions import Constant
from ..workloads.http_target import HttpTarget
from ..workloads.load_generator import LoadGenerator, RunLimits
from ..workloads.session import Scales, Workload
from .exit_codes import ExitCode
from .options import engine_arguments, engine_config, with_engine_options
from .progress import Progress
from .serve import require_engine

_DEFAULT_DURATION_S = 45.0
_SECRET_OPTIONS = ("api_key", "header")

_TRAFFIC, _TARGET = "Traffic", "Target"
_WORKLOAD_HELP = "; ".join(f"{name}: {describe(name)}" for name in WORKLOADS)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """Everything a run needs, checked before anything is started."""

    workload: Workload
    limits: RunLimits
    rules: list[Rule]
    folder: Path
    seed: int
    url: str | None
    model: str | None
    api_key: str | None
    headers: dict[str, str]
    timeout_s: float
    startup_timeout_s: float
    serve_command: list[str]
    options: dict[str, Any]


@with_engine_options
def bench(
    model: Annotated[
        str | None,
        typer.Argument(help="Model to serve and measure, as in abatch serve. Not with --url. [default: tiny]"),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option("--url", "--base-url", help="Measure this server instead.", rich_help_panel=_TARGET),
    ] = None,
    model_name: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Model to ask for. [default: the first]", rich_help_panel=_TARGET),
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
    workload: Annotated[
        str, typer.Option("--workload", "-w", help=_WORKLOAD_HELP, rich_help_panel=_TRAFFIC)
    ] = DEFAULT_WORKLOAD,
    concurrency: Annotated[
        int | None,
        typer.Option("--concurrency", "-c", help="Live sessions, pauses included.", rich_help_panel=_TRAFFIC),
    ] = None,
    request_rate: Annotated[
        float | None,
        typer.Option("--request-rate", "-r", help="Sessions started per second.", rich_help_panel=_TRAFFIC),
    ] = None,
    arrival: Annotated[
        str | None, typer.Option(help="constant or poisson, with --request-rate.", rich_help_panel=_TRAFFIC)
    ] = None,
    max_in_flight: Annotated[
        int | None, typer.Option(help="Requests at once; waiting counts as latency.", rich_help_panel=_TRAFFIC)
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option(
            "--duration", "-d", help=f"Seconds of sending. [default: {_DEFAULT_DURATION_S:g}]", rich_help_panel=_TRAFFIC
        ),
    ] = None,
    num_sessions: Annotated[
        int | None, typer.Option(help="End after this many sessions.", rich_help_panel=_TRAFFIC)
    ] = None,
    warmup: Annotated[
        float | None,
        typer.Option(
            help="Seconds at the start that do not count. [default: 5, at most a tenth]", rich_help_panel=_TRAFFIC
        ),
    ] = None,
    drain: Annotated[
        float, typer.Option(help="Seconds to finish what is in flight at the end.", rich_help_panel=_TRAFFIC)
    ] = 30.0,
    input_len: Annotated[
        int | None, typer.Option("--input-len", "--isl", min=1, help="New tokens a turn.", rich_help_panel=_TRAFFIC)
    ] = None,
    output_len: Annotated[
        int | None, typer.Option("--output-len", "--osl", min=1, help="Output tokens a turn.", rich_help_panel=_TRAFFIC)
    ] = None,
    turns: Annotated[int | None, typer.Option(min=1, help="Turns a session.", rich_help_panel=_TRAFFIC)] = None,
    tool_pause: Annotated[
        float | None, typer.Option(min=0, help="Seconds a tool takes.", rich_help_panel=_TRAFFIC)
    ] = None,
    context_scale: Annotated[float, typer.Option(help="Factor on prompt lengths.", rich_help_panel=_TRAFFIC)] = 1.0,
    time_scale: Annotated[float, typer.Option(help="Factor on pauses.", rich_help_panel=_TRAFFIC)] = 1.0,
    pause_cap: Annotated[float, typer.Option(help="Longest pause in seconds.", rich_help_panel=_TRAFFIC)] = 10.0,
    seed: Annotated[int, typer.Option(help="Same seed, same traffic.")] = 0,
    require: Annotated[
        list[str] | None,
        typer.Option(help="Rule that must hold, as 'ttft.p99/p50 <= 3'; exit 3 if not, 4 if unknown. Repeatable."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Run folder. [default: runs/DATE-WORKLOAD]")
    ] = None,
    *,
    engine: dict[str, Any],
) -> int:
    """Run a workload against a server, save the run, print the verdict.

    Without --url, serves MODEL on a free loopback port and measures that, through HTTP like any other server.
    """
    options = {name: value for name, value in locals().items() if name not in (*_SECRET_OPTIONS, "engine")}
    options["output"] = str(output) if output else None
    if url is not None and model is not None:
        raise ConfigurationError("give MODEL to measure our own engine, or --url to measure a server; not both")
    if duration is None and num_sessions is None:
        duration = _DEFAULT_DURATION_S
    scales = Scales(
        context=context_scale,
        time=time_scale,
        pause_cap_s=pause_cap,
        input_tokens=_constant(input_len),
        output_tokens=_constant(output_len),
        turns=_constant(turns),
        tool_pause_s=_constant(tool_pause),
    )
    limits = RunLimits(
        duration_s=duration,
        num_sessions=num_sessions,
        warmup_s=warmup if warmup is not None else min(5.0, duration / 10) if duration else 0.0,
        drain_s=drain,
        max_in_flight=max_in_flight,
    )
    served = model or "tiny"
    if url is None:
        require_engine()
        engine_config(served, seed, engine)  # a wrong value is found here, not in the child's log
        options |= engine
    plan = _Plan(
        workload=make_workload(workload, scales).with_pacing(
            concurrency=concurrency, request_rate=request_rate, arrival=arrival
        ),
        limits=limits,
        rules=[parse_rule(text) for text in require or []],
        folder=output or default_folder(workload),
        seed=seed,
        url=url,
        model=model_name,
        api_key=api_key if url is not None else None,
        headers=_headers(header or []),
        timeout_s=timeout,
        startup_timeout_s=startup_timeout,
        serve_command=[
            *(sys.executable, "-m", "abatch.cli", "serve", served, "--seed", str(seed)),
            *engine_arguments(engine),
        ],
        options=options,
    )
    return asyncio.run(_run(plan))


def _constant(value: float | None) -> Constant | None:
    return None if value is None else Constant(value)


def _headers(lines: list[str]) -> dict[str, str]:
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip() or any(character in line for character in "\r\n"):
            raise ConfigurationError("--header must be 'Name: value'")
        headers[name.strip()] = value.strip()
    return headers


async def _run(plan: _Plan) -> int:
    console = Console(highlight=False)
    progress = Progress(Console(stderr=True, highlight=False))
    async with AsyncExitStack() as stack:
        config = _run_config(plan)
        writer = RunWriter(plan.folder, config)
        url = plan.url
        if url is None:
            progress.say(f"loading {plan.serve_command[4]}")
            url = await stack.enter_async_context(
                launched_server(
                    plan.serve_command, plan.folder / "server.log", startup_timeout_s=plan.startup_timeout_s
                )
            )
        target = await HttpTarget.connect(
            url, model=plan.model, api_key=plan.api_key, headers=plan.headers, timeout_s=plan.timeout_s
        )
        stack.push_async_callback(target.close)
        sizer = await target.calibrate()
        config.model, config.warnings = target.model, target.warnings
        config.target = "abatch serve" if plan.url is None else target.shown_url
        writer.update_config(config)
        generator = LoadGenerator(plan.workload, target, plan.limits, seed=plan.seed, sizer=sizer, on_result=writer.add)
        is_interrupted = _stop_on_signals(generator)
        with progress.showing(generator, writer, plan.limits):
            outcome = await generator.run()
        measured_s = max(outcome.sending_s - plan.limits.warmup_s, 0.0)
        summary = writer.finish(measured_s, is_complete=not is_interrupted.is_set())
    judgements = [rule.judge(summary) for rule in plan.rules]
    print_summary(console, summary, judgements)
    console.print(f"saved in {plan.folder}", soft_wrap=True)
    return _exit_code(summary, judgements)


def _run_config(plan: _Plan) -> RunConfig:
    return RunConfig(
        started_at=started_now(),
        workload=plan.workload.name,
        verdict_class=plan.workload.verdict_class,
        seed=plan.seed,
        warmup_s=plan.limits.warmup_s,
        duration_s=plan.limits.duration_s,
        options=plan.options,
        provenance=provenance(),
    )


def _stop_on_signals(generator: LoadGenerator) -> asyncio.Event:
    """End the run on Ctrl-C or SIGTERM, with everything up to then saved. A second Ctrl-C does not wait for that."""
    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        interrupted.set()
        generator.stop()
        loop.remove_signal_handler(signal.SIGINT)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    return interrupted


def _exit_code(summary: Summary, judgements: list[Judgement]) -> int:
    if not summary.is_complete:
        return ExitCode.INTERRUPTED
    if summary.succeeded == 0:
        return ExitCode.FAILED
    outcomes = {judgement.outcome for judgement in judgements}
    if Outcome.FAIL in outcomes:
        return ExitCode.RULE_FAILED
    return ExitCode.RULE_INCONCLUSIVE if Outcome.INCONCLUSIVE in outcomes else ExitCode.OK
