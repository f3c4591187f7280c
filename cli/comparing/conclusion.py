"""The end of a comparison: compared, judged, shown and saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from ...reports.atomic_file import save
from ...reports.comparison.comparison import Comparison, compare
from ...reports.comparison.difference import Floor
from ...reports.gates.judge import Judgement, judge_all
from ...reports.gates.rule import Rule
from ...reports.renderings.comparison.console import print_comparison
from ...reports.renderings.console import print_judgements, print_repeat, print_summary
from ...reports.run.command import Command
from ...reports.run.folder import COMPARISON
from ...reports.text import clean, encoded_json
from ..exit_codes import ExitCode
from ..options.compared import LookOptions
from ..options.judging import exit_code_of_rules
from ..options.rendering import RenderingOptions
from .compared import Compared
from .files import render_comparison
from .timelines import write_timelines


def conclude(
    compared: Compared,
    rules: Sequence[Rule],
    look: LookOptions,
    rendering: RenderingOptions,
    *,
    percentiles: Sequence[float] = (),
    rare_s: float | None = None,
    timelines: Path | None = None,
    command: Command | None = None,
) -> ExitCode:
    """Compare, show, save; the exit code.

    Args:
        compared: The targets.
        rules: That all but the first must hold; the first is their baseline.
        look: What counts as a difference.
        rendering: Where else the report goes.
        percentiles: That are compared beside p50 and p99.
        rare_s: How rare the stalls are that rules must not miss.
        timelines: A folder for a trace of each run; None: no traces.
        command: What does it again; None: the runs were saved before.

    Raises:
        NotSavedError: the disk was full or gone in one of the runs, which ended it; what came before is shown.
    """
    console, came = rendering.console(), compared.rounds
    if len(compared.measurements) < 2:
        code = _without_a_comparison(compared, console)
    else:
        floor = Floor(share=look.floor, ms=look.floor_ms)
        comparison = compare(
            compared.measurements,
            floor=floor,
            effect=look.effect,
            percentiles=percentiles,
            agreements=compared.agreements,
        )
        comparison.failed, comparison.command = came.failed, command
        first, *others = compared.measurements.values()
        judgements = {
            target.name: judge_all(rules, other, first, rare_s=rare_s)
            for target, other in zip(comparison.targets, others, strict=True)
        }
        _show(comparison, compared, judgements, console)
        render_comparison(rendering, comparison, compared.measurements, judgements, console)
        if timelines is not None:
            write_timelines(timelines, compared.measurements)
            console.print(f"timelines in {timelines} (open them at https://ui.perfetto.dev)", soft_wrap=True)
        print_repeat(console, command)
        code = _exit_code(compared, judgements)
    if came.not_saved is not None:
        if len(compared.measurements) < 2:
            print_summary(console, came.not_saved.summary)
        raise came.not_saved
    return code


def _without_a_comparison(compared: Compared, console: Console) -> ExitCode:
    folder = compared.folder
    for name, why in compared.rounds.failed.items():
        console.print(clean(f"FAILED: {name}: {why}"))
    kept = "" if folder is None or not folder.exists() else f"; what was measured is in {folder}"
    console.print(f"nothing to compare{kept}", soft_wrap=True)
    return ExitCode.INTERRUPTED if compared.rounds.is_interrupted else ExitCode.FAILED


def _show(
    comparison: Comparison, compared: Compared, judgements: Mapping[str, Sequence[Judgement]], console: Console
) -> None:
    print_comparison(console, comparison, {name: one.summary for name, one in compared.measurements.items()})
    for name, of_target in judgements.items():
        print_judgements(console, of_target, heading=f"{clean(name)}:")
    if compared.folder is not None:
        save(compared.folder / COMPARISON, encoded_json(comparison))
        console.print(f"saved in {compared.folder}", soft_wrap=True)


def _exit_code(compared: Compared, judgements: Mapping[str, Sequence[Judgement]]) -> ExitCode:
    if compared.rounds.is_interrupted:
        return ExitCode.INTERRUPTED
    if compared.rounds.failed:
        return ExitCode.FAILED
    every = [judgement for of_target in judgements.values() for judgement in of_target]
    code = exit_code_of_rules(every)
    if every and code is ExitCode.OK and not all(one.summary.is_complete for one in compared.measurements.values()):
        return ExitCode.RULE_INCONCLUSIVE  # the rest of a run that broke off might have failed
    return code
