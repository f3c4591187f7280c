"""`abatch report`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from ...engine.errors import ConfigurationError
from ...reports.renderings.console import print_repeat, print_summary
from ...reports.renderings.shown_run import ShownRun, shown_target
from ...reports.renderings.terminal import terminal
from ...reports.renderings.timeline import check_writable, write_timeline
from ...reports.run.folder import RunReader
from ...reports.run.measurement import Measurement
from ...reports.text import clean
from ..options.groups import given, with_options, words
from ..options.judging import judging_of
from ..options.rendering import RenderingOptions, check_renderings, tell_github, write_renderings
from ..options.situations import Situation, does_not_apply
from .delegating import do
from .saved_folder import SHOWN, Kind, kind_of, named, why_not


@with_options
def report(
    context: typer.Context,
    run: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Folders of runs, or of one comparison or sweep. Default: the latest in runs/.",
            show_default=False,
            metavar="[RUN]...",
        ),
    ] = None,
    timeline: Annotated[
        Path | None, typer.Option(help="Write a Chrome trace of the run, for Perfetto; steps only with --step-log.")
    ] = None,
    traffic_class: Annotated[
        str | None,
        typer.Option("--class", help="Traffic class to judge; all: every class together. Default: the run's own."),
    ] = None,
    *,
    rendering: RenderingOptions,
) -> None:
    """Show saved runs again, with their rules judged, and write reports of them.

    Of several folders, those that cannot be shown are left out, each with a line that says why.
    """
    if timeline is not None:
        if run is not None and len(run) > 1:
            raise does_not_apply("--timeline", Situation.SEVERAL_RUNS)
        check_writable(timeline)
    check_renderings(rendering)
    folders = [named(folder, SHOWN) for folder in run] if run else [named(None, SHOWN)]
    if len(folders) == 1 and kind_of(folders[0]) in (Kind.COMPARISON, Kind.SWEEP):
        _show_several(context, folders[0], traffic_class, timeline, rendering)
        return
    shown = _shown_runs(folders, traffic_class)
    console = rendering.console()
    for number, one in enumerate(shown):
        if len(shown) > 1:
            name = clean(one.name)
            console.print(Text(name if number == 0 else f"\n{name}", style="bold"), soft_wrap=True)
        print_summary(console, one.summary, one.judgements, one.histograms)
        print_repeat(console, one.config.command)
    if timeline is not None:
        write_timeline(RunReader(folders[0], traffic_class), timeline)
        console.print(f"timeline in {timeline} (open it at https://ui.perfetto.dev)", soft_wrap=True)
    write_renderings(rendering, shown, console)
    tell_github(shown, os.environ, console)


def _show_several(
    context: typer.Context,
    folder: Path,
    traffic_class: str | None,
    timeline: Path | None,
    rendering: RenderingOptions,
) -> None:
    """A comparison, as `abatch compare` shows it, or a sweep, as `abatch bench --sweep` does."""
    if timeline is not None:
        raise does_not_apply("--timeline", Situation.SEVERAL_RUNS)
    if kind_of(folder) is Kind.COMPARISON:
        do(context, "compare", [str(folder), *words(rendering), *_class_words(traffic_class)])
        return
    from ..measuring.sweep import read_sweep  # with all that searches for a rate
    from ..options.applies import refuse
    from .sweep import print_sweep

    refuse(Situation.SWEEP, [*given(rendering), *_class_words(traffic_class)])
    sweep = read_sweep(folder)
    console = rendering.console()
    print_sweep(console, sweep)
    print_repeat(console, sweep.command)


def _class_words(traffic_class: str | None) -> list[str]:
    return [] if traffic_class is None else ["--class", traffic_class]


def _shown_runs(folders: Sequence[Path], traffic_class: str | None) -> list[ShownRun]:
    """The runs, by names that tell them apart. Of several, those that can be shown.

    Raises:
        ConfigurationError: none can.
    """
    found: list[tuple[Path, ShownRun]] = []
    problems: list[str] = []
    for folder in folders:
        if (problem := why_not(folder)) is not None:
            problems.append(problem)
            continue
        try:
            found.append((folder, _shown(RunReader(folder, traffic_class))))
        except ConfigurationError as error:
            problems.append(str(error))
    if len(problems) == len(folders) == 1:
        raise ConfigurationError(problems[0])
    for problem in problems:
        terminal(stderr=True, soft_wrap=True).print(clean(f"left out: {problem}"))
    if not found:
        raise ConfigurationError(f"none of {len(folders)} folders can be shown")
    names = _names([folder for folder, _ in found])
    return [replace(one, name=name) for (_, one), name in zip(found, names, strict=True)]


def _shown(reader: RunReader) -> ShownRun:
    measurement = Measurement([reader])
    return shown_target(reader.folder.name, measurement, judging_of(reader.config).judge(measurement))


def _names(folders: Sequence[Path]) -> list[str]:
    """What each goes by: its folder's name, or all of its path where others have that name too."""
    names = [folder.resolve().name for folder in folders]
    counts = Counter(names)
    return [str(folder) if counts[name] > 1 else name for folder, name in zip(folders, names, strict=True)]
