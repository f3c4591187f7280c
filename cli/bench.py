"""`abatch bench`."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ..engine.errors import ConfigurationError
from ..engine.launch import launched_server
from ..reports.console import print_summary
from ..reports.gates import Judgement, Outcome, Rule, parse_rule
from ..reports.run_file import SERVER_LOG, RunConfig, RunWriter, default_folder, provenance, started_now
from ..reports.summary import Summary
from ..workloads.catalog import DEFAULT_WORKLOAD, WORKLOADS, describe, make_workload
from ..workloads.distributions import Constant
from ..workloads.http_target import HttpTarget, hide_credentials, normalise_url
from ..workloads.load_generator import LoadGenerator, RunLimits
from ..workloads.session import Scales, Workload
from .exit_codes import ExitCode
from .options import engine_arguments, engine_config, with_engine_options
from .progress import Progress
from .serve import require_engine

_DEFAULT_DURATION_S = 60.0
_SECRET_OPTIONS = ("api_key", "header")

_TRAFFIC, _TARGET = "Traffic", "Target"
_WORKLOAD_HELP = "; ".join(f"{name}: {describe(name)}" for name in WORKLOADS)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """Everything a run needs, checked before anything is started."""

    workload: Workload
    limits: RunLimits
    rules: list[Rule]
    folder: Path | None
    seed: int
    url: str | None
    model: str | None
    api_key: str | None
    headers: dict[str, str]
    timeout_s: float
    startup_timeout_s: float
    served: str
    engine_arguments: list[str]
    options: dict[str, Any]

    def serve_command(self, listen_options: list[str]) -> list[str]:
        """The command line of our own server."""
        # -P: a file in the user's folder must not take the place of a module of the same name.
        python = (sys.executable, "-P", "-m", "abatch.cli")
        options = [*listen_options, "--seed", str(self.seed), *self.engine_arguments]
        return [*python, "serve", *options, "--", self.served]


@with_engine_options
def bench(
    model: Annotated[
        str | None,
        typer.Argument(help="Model to serve and measure, as in abatch serve. Not with --url. Default: tiny."),
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
            "--duration", "-d", help=f"Seconds of sending. Default: {_DEFAULT_DURATION_S:g}.", rich_help_panel=_TRAFFIC
        ),
    ] = None,
    num_sessions: Annotated[
        int | None, typer.Option(help="End after this many sessions.", rich_help_panel=_TRAFFIC)
    ] = None,
    warmup: Annotated[
        float | None,
        typer.Option(
            help="Seconds at the start that do not count. Default: 5, at most a tenth.", rich_help_panel=_TRAFFIC
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
        Path | None, typer.Option("--output", "-o", help="Run folder. Default: runs/DATE-TIME-WORKLOAD.")
    ] = None,
    *,
    engine: dict[str, Any],
) -> None:
    """Run a workload against a server, save the run, print the verdict.

    Without --url, serves MODEL on a free loopback port and measures that, through HTTP like any other server.
    """
    options = {name: value for name, value in locals().items() if name not in (*_SECRET_OPTIONS, "engine")}
    options |= {"output": str(output) if output else None, "url": url and hide_credentials(url)}
    served = model or "tiny"
    if url is None:
        require_engine()
        engine_config(served, seed, engine)  # a wrong value is found here, not in the child's log
        options |= engine
    else:
        normalise_url(url)
        _refuse_with_url(model, engine)
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
    plan = _Plan(
        workload=make_workload(workload, scales).with_pacing(
            concurrency=concurrency, request_rate=request_rate, arrival=arrival
        ),
        limits=limits,
        rules=[parse_rule(text) for text in require or []],
        folder=output,
        seed=seed,
        url=url,
        model=model_name,
        api_key=_api_key(api_key),
        headers=_headers(header or []),
        timeout_s=timeout,
        startup_timeout_s=startup_timeout,
        served=served,
        engine_arguments=engine_arguments(engine),
        options=options,
    )
    try:
        raise typer.Exit(asyncio.run(_run(plan)))
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def _refuse_with_url(model: str | None, engine: dict[str, Any]) -> None:
    if model is not None:
        raise ConfigurationError("give MODEL to measure our own engine, or --url to measure a server; not both")
    if words := engine_arguments(engine):
        raise ConfigurationError(f"{words[0]} is for our own engine; the server at --url has its own settings")


def _constant(value: float | None) -> Constant | None:
    return None if value is None else Constant(value)


def _api_key(key: str | None) -> str | None:
    key = (key or "").strip()  # a key read from a file often ends in a line break
    if not key.isprintable():
        raise ConfigurationError("--api-key must be printable characters on one line")
    return key or None


def _headers(lines: list[str]) -> dict[str, str]:
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip() or not line.isprintable():
            raise ConfigurationError("--header must be 'Name: value'")
        headers[name.strip()] = value.strip()
    return headers


async def _run(plan: _Plan) -> int:
    console = Console(highlight=False, markup=False, emoji=False)
    progress = Progress(Console(stderr=True, highlight=False, markup=False, emoji=False))
    async with AsyncExitStack() as stack:
        if plan.url is not None:
            target = await _connect(plan, plan.url, stack)  # before there is a folder
        writer = _new_writer(plan)
        with _abandoned_on_error(writer):
            if plan.url is None:
                progress.say(f"loading {plan.served}")
                server = launched_server(
                    plan.serve_command, writer.folder / SERVER_LOG, startup_timeout_s=plan.startup_timeout_s
                )
                target = await _connect(plan, await stack.enter_async_context(server), stack)
            sizer = await target.calibrate()
        writer.config.model, writer.config.warnings = target.model, target.warnings
        writer.config.target = "abatch serve" if plan.url is None else target.shown_url
        writer.start()
        generator = LoadGenerator(plan.workload, target, plan.limits, seed=plan.seed, sizer=sizer, on_result=writer.add)
        with _stopping_on_signals(generator) as interrupted, progress.showing(generator, writer, plan.limits):
            try:
                outcome = await generator.run()
            except BaseException:
                writer.finish(max(generator.elapsed_s - plan.limits.warmup_s, 0.0), is_complete=False)
                raise
        summary = writer.finish(
            max(outcome.sending_s - plan.limits.warmup_s, 0.0),
            is_complete=not interrupted.is_set(),
            abandoned_turns=generator.counts.turns_abandoned,
        )
    judgements = [rule.judge(summary) for rule in plan.rules]
    print_summary(console, summary, judgements)
    console.print(f"saved in {writer.folder}", soft_wrap=True)
    return _exit_code(summary, judgements)


@contextmanager
def _abandoned_on_error(writer: RunWriter) -> Iterator[None]:
    """Leave no run behind where none began."""
    try:
        yield
    except BaseException:
        writer.abandon()
        raise


async def _connect(plan: _Plan, url: str, stack: AsyncExitStack) -> HttpTarget:
    target = await HttpTarget.connect(
        url,
        model=plan.model,
        # Our own server has no key, and a key for another one is none of its business.
        api_key=plan.api_key if plan.url is not None else None,
        headers=plan.headers,
        timeout_s=plan.timeout_s,
    )
    stack.push_async_callback(target.close)
    return target


def _new_writer(plan: _Plan) -> RunWriter:
    return RunWriter(plan.folder or default_folder(plan.workload.name), _run_config(plan))


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


@contextmanager
def _stopping_on_signals(generator: LoadGenerator) -> Iterator[asyncio.Event]:
    """End the run on Ctrl-C or SIGTERM, with everything up to then saved."""
    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        interrupted.set()
        generator.stop()

    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, stop)
    try:
        yield interrupted
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _exit_code(summary: Summary, judgements: list[Judgement]) -> int:
    if not summary.is_complete:
        return ExitCode.INTERRUPTED
    if summary.succeeded == 0:
        return ExitCode.FAILED
    outcomes = {judgement.outcome for judgement in judgements}
    if Outcome.FAIL in outcomes:
        return ExitCode.RULE_FAILED
    return ExitCode.RULE_INCONCLUSIVE if Outcome.INCONCLUSIVE in outcomes else ExitCode.OK
