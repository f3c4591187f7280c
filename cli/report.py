"""`abatch report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..reports.console import print_summary
from ..reports.run_file import RunReader


def report(
    run: Annotated[Path, typer.Argument(help="A run folder, whole or interrupted.", show_default=False)],
) -> None:
    """Show a saved run again."""
    print_summary(Console(highlight=False, markup=False, emoji=False), RunReader(run).summary())
