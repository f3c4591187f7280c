"""`abatch report`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from ...reports.renderings.console import print_summary
from ...reports.renderings.shown_run import ShownRun, shown_target
from ...reports.renderings.timeline import check_writable, write_timeline
from ...reports.run.folder import RunReader
from ...reports.run.measurement import Measurement
from ...reports.text import clean
from ..options.groups import with_options
from ..options.judging import judging_of
from ..options.rendering import RenderingOptions, check_renderings, tell_github, write_renderings
from ..options.situations import Situation, does_not_apply


@with_options
def report(
    run: Annotated[
        list[Path], typer.Argument(help="Run folders, whole or interrupted.", show_default=False, metavar="RUN")
    ],
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
    """Show saved runs again, with their rules judged, and write reports of them."""
    if timeline is not None:
        if len(run) > 1:
            raise does_not_apply("--timeline", Situation.SEVERAL_RUNS)
        check_writable(timeline)
    check_renderings(rendering)
    readers = [RunReader(folder, traffic_class) for folder in run]
    shown = [_shown(reader, name) for reader, name in zip(readers, _names(run), strict=True)]
    console = rendering.console()
    for number, one in enumerate(shown):
        if len(shown) > 1:
            name = clean(one.name)
            console.print(Text(name if number == 0 else f"\n{name}", style="bold"), soft_wrap=True)
        print_summary(console, one.summary, one.judgements, one.histograms)
    if timeline is not None:
        write_timeline(readers[0], timeline)
        console.print(f"timeline in {timeline} (open it at https://ui.perfetto.dev)", soft_wrap=True)
    write_renderings(rendering, shown, console)
    tell_github(shown, os.environ, console)


def _shown(reader: RunReader, name: str) -> ShownRun:
    measurement = Measurement([reader])
    return shown_target(name, measurement, judging_of(reader.config).judge(measurement))


def _names(folders: Sequence[Path]) -> list[str]:
    """What each goes by: its folder's name, or all of its path where others have that name too."""
    names = [folder.resolve().name for folder in folders]
    counts = Counter(names)
    return [str(folder) if counts[name] > 1 else name for folder, name in zip(folders, names, strict=True)]
