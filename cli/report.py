"""`abatch report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..reports.console import print_summary
from ..reports.gates import parse_rule
from ..reports.run_file import RunReader
from ..reports.timeline import check_writable, write_timeline


def report(
    run: Annotated[Path, typer.Argument(help="A run folder, whole or interrupted.", show_default=False)],
    timeline: Annotated[
        Path | None, typer.Option(help="Write a Chrome trace of the run, for Perfetto; steps only with --step-log.")
    ] = None,
) -> None:
    """Show a saved run again, with what became of the rules it was run with."""
    if timeline is not None:
        check_writable(timeline)
    reader = RunReader(run)
    summary = reader.summary()
    rules = [parse_rule(text) for text in reader.config.options.get("require") or []]
    console = Console(highlight=False, markup=False, emoji=False)
    print_summary(console, summary, [rule.judge(summary) for rule in rules])
    if timeline is not None:
        write_timeline(reader, timeline)
        console.print(f"timeline in {timeline} (open it at https://ui.perfetto.dev)", soft_wrap=True)
