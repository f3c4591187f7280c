"""`abatch compare`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from ...reports.gates.rule import Rule
from ...reports.renderings.terminal import terminal
from ...reports.run.folder import check_can_save
from ..comparing.compared import load_compared, measure_compared
from ..comparing.conclusion import conclude
from ..comparing.repeat import repeat_command, with_salt
from ..comparing.targets import live_targets, plan_targets
from ..comparing.timelines import check_timelines
from ..forecast.dry_run import files_in_words, print_plan, rules_in_words, target_in_words, traffic_in_words
from ..forecast.effects import refuse_without_effect
from ..forecast.forecast import forecast
from ..forecast.rules import check_classes, rule_notes
from ..forecast.several import rounds_in_words
from ..measuring.plan import MOST_WORKERS, Plan
from ..naming.environment import tell_keys
from ..naming.target import find_compared
from ..options.applies import refuse
from ..options.compared import DEFAULT_DURATION_S, ComparedOptions, ComparedRules, ComparedTraffic, LookOptions
from ..options.engine import EngineOptions
from ..options.groups import Without, given, with_options
from ..options.judging import make_rules
from ..options.recipe import make_traffic
from ..options.rendering import RenderingOptions, check_renderings
from ..options.report import ReportOptions, asked_percentiles
from ..options.situations import Situation
from ..options.target import TargetOptions
from .progress import Progress


@with_options
def compare(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN | URL",
            help="Saved runs to compare, or a folder that abatch compare wrote; URLs are short for --url.",
            show_default=False,
        ),
    ] = None,
    timeline: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write a Chrome trace of each run, for Perfetto: NAME-ROUND.json. Implies --step-log.",
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, max=MOST_WORKERS, help="Sender processes; raise when one cannot keep up.")
    ] = 1,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of the runs: one per target, in it one per round."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be done, and stop before anything is sent or written.")
    ] = False,
    *,
    compared: ComparedOptions,
    target: Annotated[TargetOptions, Without({"url", "metrics_url"})],
    traffic: ComparedTraffic,
    engine: Annotated[EngineOptions, Without({"batching"})],
    report: ReportOptions,
    look: LookOptions,
    rules: Annotated[ComparedRules, Without({"baseline"})],
    rendering: RenderingOptions,
) -> None:
    """Compare saved runs, servers, or our engine with different options: which differences are real.

    Live targets are measured in rounds that take turns, each with the same traffic for all. All others are compared
    with the first. A difference counts if its confidence interval excludes zero; all intervals together hold at 95%.
    """
    check_renderings(rendering, output)
    if timeline is not None:
        check_timelines(timeline, output)
    progress = Progress(terminal(stderr=True, is_brief=rendering.quiet))
    urls, saved_runs = find_compared(compared.url, runs, progress.say)
    compared = replace(compared, url=list(urls) or None)
    command = None
    if saved_runs:
        flags = given(compared, target.typed(), traffic, engine, report, look)
        refuse(Situation.SAVED_RUNS, [*flags, *["--workers"] * (workers > 1), *["--output"] * (output is not None)])
        refuse(Situation.SAVED_RUNS, ["--dry-run"] * dry_run)
        came = load_compared([Path(run) for run in saved_runs], traffic.traffic_class, report.goodput, progress)
        judged_by = make_rules(rules, next(iter(came.measurements.values())).config.workload)
    else:
        if not traffic.has_end:
            traffic = replace(traffic, duration_s=DEFAULT_DURATION_S)
        refuse_without_effect(traffic)
        tell_keys(urls, target, progress.say)
        targets = live_targets(compared, target, engine, has_step_log=timeline is not None)
        if any(one.is_simulated for one in targets.values()):
            refuse(Situation.SIMULATED_DEVICE, given(look))
        plans = plan_targets(targets, traffic, report, workers=workers)
        first = next(iter(plans.values()))
        traffic = with_salt(traffic, plans)
        judged_by = make_rules(rules, first.traffic.workload.name)
        notes = check_classes(judged_by, first.traffic)
        expected = forecast(first.traffic)
        notes += rule_notes(judged_by, expected, first, rules.rare_s, num_runs=look.rounds)
        lines = [*rounds_in_words(expected, plans, look.rounds, datetime.now()), *(f"note: {note}" for note in notes)]
        if dry_run:
            check_can_save(output, is_for_several=True)
            print_plan(rendering.console(), _planned(plans, lines, judged_by, output, rendering, timeline))
            raise typer.Exit

        def say_what_comes() -> None:
            while lines:
                progress.say(lines.pop(0))

        came = measure_compared(
            plans,
            lambda number: make_traffic(replace(traffic, seed=traffic.seed + number), target.models),
            look.rounds,
            output,
            progress,
            has_answers_checked=look.has_answers_checked,
            on_ready=say_what_comes,
        )
        command = repeat_command(
            make_traffic(traffic, target.models),
            compared,
            target,
            engine,
            report,
            look,
            rules=judged_by,
            rare_s=rules.rare_s,
            workers=workers,
        )
    if len(came.measurements) > 1:
        progress.say("comparing")
    code = conclude(
        came,
        judged_by,
        look,
        rendering,
        percentiles=asked_percentiles(report),
        rare_s=rules.rare_s,
        timelines=timeline,
        command=command,
    )
    raise typer.Exit(code)


def _planned(
    plans: Mapping[str, Plan],
    lines: Sequence[str],
    rules: Sequence[Rule],
    output: Path | None,
    rendering: RenderingOptions,
    timelines: Path | None,
) -> Iterator[tuple[str, Sequence[str]]]:
    """What --dry-run prints. `lines`: what would be sent, and how long it takes."""
    traffic = next(iter(plans.values())).traffic
    yield "targets", [f"{name}: {target_in_words(plan.source)}" for name, plan in plans.items()]
    yield "workload", traffic_in_words(traffic)
    yield "runs", lines
    yield "saved in", [str(output or f"runs/DATE-TIME-compare-{traffic.workload.name}")]
    yield "rules", rules_in_words(rules, None)
    yield "writes", files_in_words(rendering.places() | ({} if timelines is None else {"timelines": timelines}))
