"""`abatch compare`."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from ...engine.scheduling.limits import BATCHING_MODES
from ...engine.simulation.device_profile import is_simulated
from ...engine.timing.durations import format_duration
from ...reports.atomic_file import save
from ...reports.calibration.file import known_floor
from ...reports.comparison.answer_agreement import AnswerAgreement
from ...reports.comparison.comparable import refuse_incomparable
from ...reports.comparison.comparison import DEFAULT_EFFECT
from ...reports.comparison.comparison import compare as compare_measurements
from ...reports.comparison.difference import Floor
from ...reports.gates.judge import judge_all
from ...reports.gates.parser import parse_rules
from ...reports.gates.rule import Rule
from ...reports.renderings.comparison.console import print_comparison
from ...reports.renderings.console import print_judgements, print_summary
from ...reports.renderings.terminal import terminal
from ...reports.run.folder import COMPARISON, default_folder, make_empty
from ...reports.run.measurement import Measurement
from ...reports.text import clean, encoded_json
from ..exit_codes import ExitCode
from ..measuring.answer_check import check_answers
from ..measuring.observer import Observer
from ..measuring.plan import SERVER_METRICS_S, Plan
from ..measuring.rounds import Rounds, measure_in_turns
from ..measuring.saved_targets import saved_targets
from ..measuring.targets import RemoteServer, Source
from ..naming.target import find_compared
from ..options.applies import refuse
from ..options.compare_rendering import render_comparison
from ..options.compared import live_targets
from ..options.engine import EngineOptions
from ..options.groups import Without, given, with_options
from ..options.judging import exit_code_of_rules
from ..options.recipe import make_traffic
from ..options.rendering import RenderingOptions, check_renderings
from ..options.situations import Situation
from ..options.target import TargetOptions
from ..options.times import time_option
from ..options.traffic import TrafficOptions
from .progress import Progress

_DEFAULT_DURATION_S = 30.0
_DEFAULT_ROUNDS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedTraffic(TrafficOptions):
    """The traffic of each run of a comparison."""

    duration_s: Annotated[
        float | None,
        time_option(
            "--duration",
            "-d",
            help=f"How long each run sends, such as 90s or 2m. Default: {format_duration(_DEFAULT_DURATION_S)}.",
        ),
    ] = None


@with_options
def compare(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN | URL]...",
            help="Saved runs to compare, or a folder that abatch compare wrote; URLs are short for --url.",
            show_default=False,
        ),
    ] = None,
    url: Annotated[
        list[str] | None,
        typer.Option(
            "--url", "--base-url", help="Server to measure, as URL or NAME=URL; repeatable.", rich_help_panel="Target"
        ),
    ] = None,
    batching: Annotated[
        str | None,
        typer.Option(
            help=f"Batching modes of our engine, with commas. Default without --url: {','.join(BATCHING_MODES)}.",
            rich_help_panel="Target",
        ),
    ] = None,
    rounds: Annotated[
        int, typer.Option(min=1, max=1000, help="How often each target is measured, in turns (A B, B A, ...).")
    ] = _DEFAULT_ROUNDS,
    effect: Annotated[
        float, typer.Option(min=0.01, max=10, help="Smallest p99 change worth detecting, as a fraction.")
    ] = DEFAULT_EFFECT,
    floor: Annotated[float, typer.Option(min=0, max=1, help="Ignore changes below this fraction ...")] = 0.03,
    floor_ms: Annotated[
        float, time_option("--floor-ms", unit="ms", help="... and below this time (milliseconds). Default: 0.1.")
    ] = 0.1,
    require: Annotated[
        list[str] | None,
        typer.Option(
            help="Rule that every target but the first must hold; baseline is the first: 'ttft.p99 <= baseline + 10%'. "
            "Repeatable."
        ),
    ] = None,
    has_answers_checked: Annotated[
        bool,
        typer.Option(
            "--check-answers",
            help="Before the rounds, send all targets the same greedy prompts and report whether their answers match.",
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of the runs: one per target, in it one per round."),
    ] = None,
    *,
    target: Annotated[TargetOptions, Without({"url", "no_sessions", "server_metrics_interval_s", "metrics_url"})],
    traffic: ComparedTraffic,
    engine: Annotated[EngineOptions, Without({"batching"})],
    rendering: RenderingOptions,
) -> None:
    """Compare saved runs, servers, or the batching modes of our engine: which differences are real.

    Live targets are measured in rounds that take turns, each with the same traffic for all. All others are compared
    with the first. A difference counts if its confidence interval excludes zero; all intervals together hold at 95%.
    """
    check_renderings(rendering, output)
    rules = parse_rules(require or [])
    progress = Progress(terminal(stderr=True))
    urls, saved_runs = find_compared(url, runs, progress.say)
    if saved_runs:
        own = {"--url": urls, "--batching": batching, "--rounds": rounds != _DEFAULT_ROUNDS, "--output": output}
        own["--check-answers"] = has_answers_checked
        flags = [flag for flag, value in own.items() if value]
        refuse(Situation.SAVED_RUNS, [*flags, *given(replace(target, api_key=None), traffic, engine)])
        saved = saved_targets([Path(run) for run in saved_runs], traffic.traffic_class)
        measurements, came, folder = saved.measurements, Rounds({}, failed=saved.failed), None
        for note in saved.notes:
            progress.say(f"note: {note}")
        refuse_incomparable([one.config for one in measurements.values()], list(measurements))
        agreements = saved.agreements
    else:
        if is_simulated(engine.device):
            refuse(Situation.SIMULATED_DEVICE, ["--check-answers"] * has_answers_checked)
        sources = live_targets(urls, batching, target, engine, traffic.seed)
        if traffic.duration_s is None and traffic.num_sessions is None:
            traffic = replace(traffic, duration_s=_DEFAULT_DURATION_S)
        options = {
            **engine.saved(),
            "model": target.model,
            "real_time": target.real_time,
            "no_ignore_eos": target.no_ignore_eos,
            **target.saved_request(),
        }
        make_traffic(traffic, target.models)  # a mistake in it is found before anything is asked
        agreements = check_answers(sources, progress) if has_answers_checked else {}
        folder, came = _measure(sources, traffic, target, options, rounds, output, progress)
        measurements = came.measurements()
    if len(measurements) > 1:
        progress.say("comparing")
    limits = Floor(share=floor, ms=floor_ms)
    code = _conclude(measurements, came, folder, rules, limits, effect, rendering, agreements)
    if came.not_saved is not None:
        if len(measurements) < 2:
            print_summary(rendering.console(), came.not_saved.summary)
        raise came.not_saved
    raise typer.Exit(code)


def _measure(
    sources: Mapping[str, Source],
    traffic: TrafficOptions,
    target: TargetOptions,
    options: Mapping[str, object],
    num_rounds: int,
    output: Path | None,
    observer: Observer,
) -> tuple[Path, Rounds]:
    planned = make_traffic(traffic, target.models)
    folder = output or default_folder(f"compare-{planned.workload.name}")
    make_empty(folder)
    plans = {
        name: Plan(
            traffic=planned,
            source=source,
            folder=folder / name,
            options={**options, ("target" if isinstance(source, RemoteServer) else "batching"): name},
            floor=None if source.is_virtual else known_floor(),
            server_metrics_s=SERVER_METRICS_S,
            idle_probe=target.idle_probe,
        )
        for name, source in sources.items()
    }
    try:
        return folder, measure_in_turns(
            plans,
            lambda number: make_traffic(replace(traffic, seed=traffic.seed + number), target.models),
            num_rounds,
            folder,
            observer,
        )
    finally:
        for empty in (*(folder / name for name in sources), folder):  # if no run began there
            with contextlib.suppress(OSError):
                empty.rmdir()


def _conclude(
    measurements: Mapping[str, Measurement],
    came: Rounds,
    folder: Path | None,
    rules: Sequence[Rule],
    floor: Floor,
    effect: float,
    rendering: RenderingOptions,
    agreements: Mapping[str, AnswerAgreement],
) -> int:
    """Compare, show, save; the exit code."""
    console = rendering.console()
    if len(measurements) < 2:
        for name, why in came.failed.items():
            console.print(clean(f"FAILED: {name}: {why}"))
        kept = "" if folder is None or not folder.exists() else f"; what was measured is in {folder}"
        console.print(f"nothing to compare{kept}", soft_wrap=True)
        return ExitCode.INTERRUPTED if came.is_interrupted else ExitCode.FAILED
    comparison = compare_measurements(measurements, floor=floor, effect=effect, agreements=agreements)
    comparison.failed = came.failed
    summaries = {name: one.summary for name, one in measurements.items()}
    first, *others = measurements.values()
    judgements = {
        target.name: judge_all(rules, other, first) for target, other in zip(comparison.targets, others, strict=True)
    }
    print_comparison(console, comparison, summaries)
    for name, of_target in judgements.items():
        if of_target:
            console.print(f"{clean(name)}:")
            print_judgements(console, of_target)
    if folder is not None:
        save(folder / COMPARISON, encoded_json(comparison))
        console.print(f"saved in {folder}", soft_wrap=True)
    render_comparison(rendering, comparison, measurements, judgements, console)
    if came.is_interrupted:
        return ExitCode.INTERRUPTED
    if came.failed:
        return ExitCode.FAILED
    code = exit_code_of_rules(judgement for of_target in judgements.values() for judgement in of_target)
    if rules and code is ExitCode.OK and not all(summary.is_complete for summary in summaries.values()):
        return ExitCode.RULE_INCONCLUSIVE  # the rest of a run that broke off might have failed
    return code
