"""`abatch gate`."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from ...engine.errors import ConfigurationError
from ...reports.renderings.console import print_judgements, print_notes
from ...reports.renderings.shown_run import shown_target
from ...reports.run.folder import RunReader
from ...reports.run.measurement import Measurement
from ..exit_codes import ExitCode
from ..options.groups import given, with_options
from ..options.judging import RuleOptions, exit_code_of_rules, judging_of, make_judging, refuse_other_workload
from ..options.rendering import RenderingOptions, check_renderings, tell_github, write_renderings
from .saved_folder import Kind, named, why_not


@with_options
def gate(
    run: Annotated[
        Path | None,
        typer.Argument(help="A run folder. Default: the latest in runs/.", show_default=False, metavar="[RUN]"),
    ] = None,
    *,
    rules: RuleOptions,
    rendering: RenderingOptions,
) -> None:
    """Judge a saved run: exit 0 if every rule holds, 3 if one does not, 4 if one could not be judged.

    Rules come from --require, from the file --rules, or from the run itself. With a --baseline and no rules, ttft p50
    and the p99 of ttft, itl and e2e must not have grown by more than 10%.
    """
    check_renderings(rendering)
    run = named(run, [Kind.RUN])
    if (problem := why_not(run)) is not None:
        raise ConfigurationError(problem)
    reader = RunReader(run)
    if set(given(rules)) - {"--rare"}:
        judging = make_judging(rules, reader.config.workload, has_default=True)
    else:
        judging = judging_of(reader.config)
        judging = judging if rules.rare_s is None else replace(judging, rare_s=rules.rare_s)
    if not judging.rules:
        raise ConfigurationError("gate needs rules: --require 'ttft.p99/p50 <= 3', --rules gates.toml, or a --baseline")
    refuse_other_workload(judging, reader.config, str(run))
    measurement = Measurement([reader])
    judgements = judging.judge(measurement)
    console = rendering.console()
    if not measurement.summary.is_complete:
        console.print(
            Text("INTERRUPTED: this run did not finish; rules are about the part that was saved", "bold yellow")
        )
    print_judgements(console, judgements)
    print_notes(console, judging.notes(reader.config))
    shown = [shown_target(run.resolve().name, measurement, judgements)]
    write_renderings(rendering, shown, console)
    tell_github(shown, os.environ, console)
    code = exit_code_of_rules(judgements)
    if not measurement.summary.is_complete and code is ExitCode.OK:
        code = ExitCode.RULE_INCONCLUSIVE  # the rest of a run that broke off might have failed
    raise typer.Exit(code)
