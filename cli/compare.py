"""`abatch compare`."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ..engine.config import BATCHING_MODES
from ..engine.errors import ConfigurationError
from ..reports.calibration_file import known_floor
from ..reports.comparison import print_comparison
from ..reports.run_file import default_folder
from ..reports.summary import Summary
from .exit_codes import ExitCode
from .measure import Plan, run
from .options import ENGINE_OPTIONS, with_options
from .own_engine import own_engine
from .progress import Progress
from .traffic import TRAFFIC_OPTIONS, make_traffic

_ENGINE_OPTIONS = [option for option in ENGINE_OPTIONS if option.name != "batching"]


@with_options(traffic=TRAFFIC_OPTIONS, engine=_ENGINE_OPTIONS)
def compare(
    model: Annotated[
        str | None, typer.Argument(help="Model to serve, as in abatch bench. Default: tiny, or llama-3.1-8b.")
    ] = None,
    batching: Annotated[str, typer.Option(help="Batching modes, with commas between them.")] = ",".join(BATCHING_MODES),
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds a request may take.")] = 600.0,
    startup_timeout: Annotated[float, typer.Option(min=1, help="Seconds a server may take to load.")] = 600.0,
    real_time: Annotated[bool, typer.Option("--real-time", help="Simulated device: emulate it behind HTTP.")] = False,
    step_log: Annotated[bool, typer.Option("--step-log", help="Log every step into the run folders.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the runs, one in it for each mode.")
    ] = None,
    *,
    traffic: dict[str, Any],
    engine: dict[str, Any],
) -> None:
    """Run the same traffic under each batching mode of our engine, one after the other, and put them side by side.

    On the local device, through HTTP; or on a simulated one, in virtual time.
    """
    modes = [mode.strip() for mode in batching.split(",")]
    if len(set(modes)) < len(modes) or not set(modes) <= set(BATCHING_MODES):
        raise ConfigurationError(f"--batching must be some of {','.join(BATCHING_MODES)}, not {batching!r}")
    sources = {
        mode: own_engine(
            model,
            traffic["seed"],
            {**engine, "batching": mode},
            real_time=real_time,
            has_step_log=step_log,
            timeout_s=timeout,
            startup_timeout_s=startup_timeout,
        )
        for mode in modes
    }
    planned = make_traffic(traffic)
    folder = output or default_folder(f"compare-{planned.workload.name}")
    progress = Progress(Console(stderr=True, highlight=False, markup=False, emoji=False))
    console = Console(highlight=False, markup=False, emoji=False)
    runs: dict[str, Summary] = {}
    try:
        for mode, source in sources.items():
            progress.say(f"{mode} batching")
            options = {**traffic, **engine, "batching": mode, "model": model, "real_time": real_time}
            plan = Plan(
                traffic=planned,
                source=source,
                folder=folder / mode,
                options=options,
                floor=None if source.is_virtual else known_floor(),
            )
            runs[mode], _ = run(plan, progress)
            if not runs[mode].is_complete:
                break
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()  # empty, if the first run did not begin
    print_comparison(console, runs)
    console.print(f"saved in {folder}", soft_wrap=True)
    if not all(summary.is_complete for summary in runs.values()):
        raise typer.Exit(ExitCode.INTERRUPTED)
    raise typer.Exit(ExitCode.OK if all(summary.succeeded for summary in runs.values()) else ExitCode.FAILED)
