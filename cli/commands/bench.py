"""`abatch bench`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from ...reports.renderings.console import print_judgements, print_notes, print_repeat, print_summary
from ...reports.renderings.shown_run import shown_target
from ...reports.renderings.terminal import terminal
from ...reports.renderings.timeline import check_writable, write_timeline
from ...reports.run.folder import check_can_save
from ...reports.run.writer import NotSavedError
from ..exit_codes import ExitCode
from ..forecast.clock import length_of
from ..forecast.dry_run import (
    files_in_words,
    print_plan,
    rules_in_words,
    run_folder,
    target_in_words,
    traffic_in_words,
)
from ..forecast.effects import refuse_without_effect
from ..forecast.forecast import forecast
from ..forecast.rules import check_classes, rule_notes
from ..forecast.words import run_in_words
from ..measuring.plan import MOST_WORKERS, Plan
from ..measuring.run import BrokenOffError, Run
from ..measuring.running import run
from ..naming.bare_words import read_bare_words
from ..naming.environment import tell_key, with_server_of_environment
from ..naming.target import find_target
from ..options.applies import refuse, refuse_of_engine
from ..options.engine import EngineOptions
from ..options.groups import given, with_options
from ..options.judging import Judging, RuleOptions, exit_code, make_judging
from ..options.plan import plan_run
from ..options.rendering import RenderingOptions, check_renderings, tell_github, write_renderings
from ..options.report import ReportOptions
from ..options.situations import Situation
from ..options.sweep import SweepOptions
from ..options.target import TargetOptions
from ..options.traffic import TrafficOptions
from .progress import Progress
from .sweep import sweep_rates


@with_options
def bench(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="URL | MODEL", help="Short for --url or --model.", show_default=False),
    ] = None,
    timeline: Annotated[
        Path | None, typer.Option(help="Write a Chrome trace of the run, for Perfetto. Implies --step-log.")
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, max=MOST_WORKERS, help="Sender processes; raise when one cannot keep up.")
    ] = 1,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Run folder. Default: runs/DATE-TIME-WORKLOAD.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be done, and stop before anything is sent or written.")
    ] = False,
    *,
    target: TargetOptions,
    traffic: TrafficOptions,
    engine: EngineOptions,
    report: ReportOptions,
    sweep: SweepOptions,
    rules: RuleOptions,
    rendering: RenderingOptions,
) -> None:
    """Run a workload against a server, save the run, print the verdict.

    Without --url, serves --model on a free loopback port and measures that through HTTP, like any other server.

    A simulated device needs no server: hours of traffic run in minutes, and the same seed gives the same numbers.
    """
    progress = Progress(terminal(stderr=True, is_brief=rendering.quiet))
    bare = read_bare_words(context, words)
    target = with_server_of_environment(context, target, engine, bare, progress.say)
    target = find_target(target, bare, progress.say)
    tell_key(target, progress.say)
    if sweep.sweep:
        refuse(Situation.SWEEP, [*given(traffic, rules, rendering), *["--timeline"] * (timeline is not None)])
    else:
        refuse(Situation.NO_SWEEP, given(sweep))
        if not rules.require and rules.rules is None:
            refuse(Situation.NO_RULES, given(rules))
    if timeline is not None:
        check_writable(timeline, output)
        target = replace(target, step_log=target.step_log or target.url is None)
    check_renderings(rendering, output)
    plan = plan_run(target, traffic, engine, report, workers=workers, folder=output)
    refuse_of_engine(engine)
    refuse_without_effect(traffic)
    judging = make_judging(rules, plan.traffic.workload.name)
    command = None if plan.command is None else plan.command.with_words(judging.words())
    plan = replace(plan, options={**plan.options, **judging.saved()}, command=command)
    if sweep.sweep:
        raise typer.Exit(sweep_rates(plan, traffic, sweep, progress, rendering.console(), is_dry_run=dry_run))
    notes = check_classes(judging.rules, plan.traffic)
    expected = forecast(plan.traffic)
    length = length_of(expected, plan)
    notes += rule_notes(judging.rules, expected, plan, judging.rare_s)
    if dry_run:
        check_can_save(plan.folder)
        lines = run_in_words(expected, plan, length.end(datetime.now()))
        print_plan(rendering.console(), _planned(plan, [*lines, *notes], judging, rendering, timeline))
        raise typer.Exit
    for note in notes:
        progress.say(f"note: {note}")

    def say_what_comes() -> None:
        for line in run_in_words(expected, plan, length.loaded().end(datetime.now())):
            progress.say(line)

    try:
        measured = run(plan, progress, say_what_comes)
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except (NotSavedError, BrokenOffError) as error:
        print_summary(rendering.console(), error.summary)
        raise
    raise typer.Exit(_show(measured, judging, rendering, timeline))


def _planned(
    plan: Plan, lines: Sequence[str], judging: Judging, rendering: RenderingOptions, timeline: Path | None
) -> Iterator[tuple[str, Sequence[str]]]:
    """What --dry-run prints. `lines`: what the run would send, and when it would end."""
    yield "target", [target_in_words(plan.source)]
    yield "workload", traffic_in_words(plan.traffic)
    yield "run", lines
    yield "saved in", [run_folder(plan)]
    yield "rules", rules_in_words(judging.rules, judging.baseline_folder)
    yield "writes", files_in_words(rendering.places() | ({} if timeline is None else {"timeline": timeline}))


def _show(measured: Run, judging: Judging, rendering: RenderingOptions, timeline: Path | None) -> ExitCode:
    """Print the verdict, write what else was asked for; the exit code."""
    console = rendering.console()
    summary, measurement = measured.summary, measured.measurement
    print_summary(console, summary, histograms=measurement.histograms)
    console.print(f"saved in {measured.folder}", soft_wrap=True)
    judgements = judging.judge(measurement)
    print_judgements(console, judgements)
    print_notes(console, judging.notes(measured.config))
    if timeline is not None:
        write_timeline(measured.reader, timeline)
        console.print(f"timeline in {timeline} (open it at https://ui.perfetto.dev)", soft_wrap=True)
    shown = [shown_target(measured.folder.name, measurement, judgements)]
    write_renderings(rendering, shown, console)
    tell_github(shown, os.environ, console)
    print_repeat(console, measured.config.command)
    return exit_code(summary, judging.rules, judgements)
