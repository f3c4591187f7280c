"""`abatch gate`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from ...engine.errors import ConfigurationError
from ...reports.renderings.console import print_judgements
from ...reports.renderings.shown_run import shown_target
from ...reports.run.folder import RunReader
from ...reports.run.measurement import Measurement
from ..exit_codes import ExitCode
from ..options.judging import RULE_OPTIONS, exit_code_of_rules, judging_of, make_judging, refuse_other_workload
from ..options.options import with_options
from ..options.rendering import RENDERING_OPTIONS, check_renderings, report_console, tell_github, write_renderings


@with_options(rules=RULE_OPTIONS, rendering=RENDERING_OPTIONS)
def gate(
    run: Annotated[Path, typer.Argument(help="A run folder.", show_default=False)],
    *,
    rules: dict[str, Any],
    rendering: dict[str, Any],
) -> None:
    """Judge a saved run: exit 0 if every rule holds, 3 if one does not, 4 if one could not be judged.

    Rules come from --require, from a file of --rules, or from the run itself. With a --baseline and no rule at all, the
    median of ttft and the p99 of ttft, itl and e2e must not have grown by more than 10%.
    """
    check_renderings(rendering)
    reader = RunReader(run)
    if rules["require"] or rules["rules"] or rules["baseline"]:
        judging = make_judging(rules, reader.config.workload, has_default=True)
    else:
        judging = judging_of(reader.config)
    if not judging.rules:
        raise ConfigurationError("gate needs rules: --require 'ttft.p99/p50 <= 3', --rules gates.toml, or a --baseline")
    refuse_other_workload(judging, reader.config, str(run))
    measurement = Measurement([reader])
    judgements = judging.judge(measurement)
    console = report_console(rendering)
    if not measurement.summary.is_complete:
        console.print(
            Text("INTERRUPTED: this run did not finish; rules are about the part that was saved", "bold yellow")
        )
    print_judgements(console, judgements)
    for note in judging.notes(reader.config):
        console.print(Text(f"note: {note}", style="yellow"))
    shown = [shown_target(run.resolve().name, measurement, judgements)]
    write_renderings(rendering, shown, console)
    tell_github(shown, os.environ, console)
    code = exit_code_of_rules(judgements)
    if not measurement.summary.is_complete and code is ExitCode.OK:
        code = ExitCode.RULE_INCONCLUSIVE  # what a run that broke off would have shown is not known
    raise typer.Exit(code)
