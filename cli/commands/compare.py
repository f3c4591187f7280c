"""`abatch compare`."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from ...engine.errors import ConfigurationError
from ...engine.scheduling.limits import BATCHING_MODES
from ...reports.atomic_file import write_atomically
from ...reports.calibration.file import known_floor
from ...reports.comparison.comparable import refuse_incomparable
from ...reports.comparison.comparison import COMPARISON, DEFAULT_EFFECT
from ...reports.comparison.comparison import compare as compare_measurements
from ...reports.comparison.difference import Floor
from ...reports.gates.judge import judge_all
from ...reports.gates.parser import parse_rules
from ...reports.gates.rule import Rule
from ...reports.renderings.comparison.console import print_comparison
from ...reports.renderings.console import print_judgements
from ...reports.run.folder import default_folder
from ...reports.run.measurement import Measurement
from ..exit_codes import ExitCode
from ..measuring.compared_targets import live_targets, refuse_live_options, saved_targets
from ..measuring.measure import SERVER_METRICS_S, Plan
from ..measuring.progress import Progress
from ..measuring.rounds import Rounds, measure_in_turns
from ..measuring.targets import RemoteServer, Source
from ..options.compare_rendering import render_comparison
from ..options.headers import parse_headers
from ..options.judging import exit_code_of_rules
from ..options.options import ENGINE_OPTIONS, clean_api_key, with_options
from ..options.rendering import RENDERING_OPTIONS, check_renderings, report_console
from ..options.traffic import TRAFFIC_OPTIONS, make_traffic

_ENGINE_OPTIONS = [option for option in ENGINE_OPTIONS if option.name != "batching"]
_TARGETS = "Targets"
_DEFAULT_DURATION_S = 30.0
_DEFAULT_ROUNDS = 4
_TRAFFIC_OPTIONS = [
    replace(option, help=f"Seconds of sending, of each run. Default: {_DEFAULT_DURATION_S:g}.")
    if option.name == "duration"
    else option
    for option in TRAFFIC_OPTIONS
]


@with_options(traffic=_TRAFFIC_OPTIONS, engine=_ENGINE_OPTIONS, rendering=RENDERING_OPTIONS)
def compare(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(help="Saved runs to compare; or a folder that abatch compare wrote.", show_default=False),
    ] = None,
    url: Annotated[
        list[str] | None,
        typer.Option(
            "--url", "--base-url", help="Server to measure, as URL or NAME=URL; repeatable.", rich_help_panel=_TARGETS
        ),
    ] = None,
    batching: Annotated[
        str | None,
        typer.Option(
            help=f"Batching modes of our engine, with commas. Default without --url: {','.join(BATCHING_MODES)}.",
            rich_help_panel=_TARGETS,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="Model to serve, or to ask for. Default: tiny, or llama-3.1-8b; of a server its first.",
            rich_help_panel=_TARGETS,
        ),
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(envvar="ABATCH_API_KEY", show_envvar=True, help="Bearer token.", rich_help_panel=_TARGETS),
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option(help="'Name: value' to send along; repeatable.", rich_help_panel=_TARGETS)
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.001, help="Seconds a request may take.", rich_help_panel=_TARGETS)
    ] = 600.0,
    startup_timeout: Annotated[
        float, typer.Option(min=1, help="Seconds a server of ours may take to load.", rich_help_panel=_TARGETS)
    ] = 600.0,
    real_time: Annotated[
        bool,
        typer.Option("--real-time", help="Simulated device: emulate it behind HTTP.", rich_help_panel=_TARGETS),
    ] = False,
    step_log: Annotated[
        bool, typer.Option("--step-log", help="Log every step of our own engine into the run folders.")
    ] = False,
    rounds: Annotated[
        int, typer.Option(min=1, max=1000, help="Times that each target is measured, in turns (A B, B A, ...).")
    ] = _DEFAULT_ROUNDS,
    effect: Annotated[
        float, typer.Option(min=0.01, max=10, help="Change of a p99 that one wants to be told of, as a share.")
    ] = DEFAULT_EFFECT,
    floor: Annotated[float, typer.Option(min=0, max=1, help="Changes below this share matter to nobody ...")] = 0.03,
    floor_ms: Annotated[float, typer.Option(min=0, help="... nor do those below this time (ms).")] = 0.1,
    require: Annotated[
        list[str] | None,
        typer.Option(
            help="Rule that every target but the first must hold; baseline is the first: 'ttft.p99 <= baseline + 10%'. "
            "Repeatable."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of the runs: one of each target, in it one of each round."),
    ] = None,
    *,
    traffic: dict[str, Any],
    engine: dict[str, Any],
    rendering: dict[str, Any],
) -> None:
    """Compare saved runs, servers, or the batching modes of our engine: which differences are real.

    What is live is measured in rounds that take turns, each with the same traffic for all. The others are held against
    the first. A difference counts if its interval leaves out zero; all intervals together hold at 95%.
    """
    check_renderings(rendering, output)
    rules = parse_rules(require or [])
    limits = Floor(share=floor, ms=floor_ms)
    progress = Progress(Console(stderr=True, highlight=False, markup=False, emoji=False))
    if runs:
        given = {
            "--url": (url, None),
            "--batching": (batching, None),
            "--model": (model, None),
            "--header": (header, None),
            "--rounds": (rounds, _DEFAULT_ROUNDS),
            "--real-time": (real_time, False),
            "--step-log": (step_log, False),
            "--output": (output, None),
        }
        refuse_live_options(traffic, engine, given)
        saved = saved_targets(runs)
        measurements, came, folder = saved.measurements, Rounds({}, failed=saved.failed), None
        for note in saved.notes:
            progress.say(f"note: {note}")
        refuse_incomparable([one.config for one in measurements.values()], list(measurements))
    else:
        sources = live_targets(
            url or [],
            batching,
            model,
            engine,
            api_key=clean_api_key(api_key),
            headers=parse_headers(header or []),
            seed=traffic["seed"],
            timeout_s=timeout,
            startup_timeout_s=startup_timeout,
            real_time=real_time,
            step_log=step_log,
        )
        if traffic["duration"] is None and traffic["num_sessions"] is None:
            traffic = traffic | {"duration": _DEFAULT_DURATION_S}
        options = {**traffic, **engine, "model": model, "real_time": real_time}
        folder, came = _measure(sources, traffic, options, rounds, output, progress)
        measurements = came.measurements()
    if len(measurements) > 1:
        progress.say("comparing")
    raise typer.Exit(_conclude(measurements, came, folder, rules, limits, effect, rendering))


def _measure(
    sources: Mapping[str, Source],
    traffic: dict[str, Any],
    options: dict[str, Any],
    num_rounds: int,
    output: Path | None,
    progress: Progress,
) -> tuple[Path, Rounds]:
    planned = make_traffic(traffic)
    folder = output or default_folder(f"compare-{planned.workload.name}")
    if folder.exists() and not folder.is_dir():
        raise ConfigurationError(f"{folder} is a file; give --output a new folder")
    if folder.exists() and any(folder.iterdir()):
        raise ConfigurationError(f"{folder} is not empty; give --output a new folder")
    plans = {
        name: Plan(
            traffic=planned,
            source=source,
            folder=folder / name,
            options=options | ({"batching": name} if not isinstance(source, RemoteServer) else {"target": name}),
            floor=None if source.is_virtual else known_floor(),
            server_metrics_s=SERVER_METRICS_S,
        )
        for name, source in sources.items()
    }
    try:
        return folder, measure_in_turns(
            plans,
            lambda number: make_traffic(traffic | {"seed": traffic["seed"] + number}),
            num_rounds,
            folder,
            progress,
        )
    finally:
        for empty in (*(folder / name for name in sources), folder):  # where no run began
            with contextlib.suppress(OSError):
                empty.rmdir()


def _conclude(
    measurements: Mapping[str, Measurement],
    came: Rounds,
    folder: Path | None,
    rules: Sequence[Rule],
    floor: Floor,
    effect: float,
    rendering: dict[str, Any],
) -> int:
    """Compare, show, save; the exit code."""
    console = report_console(rendering)
    if len(measurements) < 2:
        for name, why in came.failed.items():
            console.print(f"FAILED: {name}: {why}")
        kept = "" if folder is None or not folder.exists() else f"; what was measured is in {folder}"
        console.print(f"nothing to compare{kept}", soft_wrap=True)
        return ExitCode.INTERRUPTED if came.is_interrupted else ExitCode.FAILED
    comparison = compare_measurements(measurements, floor=floor, effect=effect)
    comparison.failed = came.failed
    summaries = {name: one.summary for name, one in measurements.items()}
    first, *others = measurements.values()
    judgements = {
        target.name: judge_all(rules, other, first) for target, other in zip(comparison.targets, others, strict=True)
    }
    print_comparison(console, comparison, summaries)
    for name, of_target in judgements.items():
        if of_target:
            console.print(f"{name}:")
            print_judgements(console, of_target)
    if folder is not None:
        write_atomically(folder / COMPARISON, msgspec.json.format(msgspec.json.encode(comparison)) + b"\n")
        console.print(f"saved in {folder}", soft_wrap=True)
    render_comparison(rendering, comparison, measurements, judgements, console)
    if came.is_interrupted:
        return ExitCode.INTERRUPTED
    if came.failed:
        return ExitCode.FAILED
    code = exit_code_of_rules(judgement for of_target in judgements.values() for judgement in of_target)
    if rules and code is ExitCode.OK and not all(summary.is_complete for summary in summaries.values()):
        return ExitCode.RULE_INCONCLUSIVE  # what a run that broke off would have shown is not known
    return code
