"""A comparison on the terminal: what differs, in words and in a table; then how far to believe it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from rich.console import Console
from rich.text import Text

from ...comparison.comparison import Comparison
from ...comparison.difference import Difference, Verdict
from ...comparison.findings import comparison_findings, footnotes, results
from ...comparison.sentence import change_alone, value_in_words
from ...formatting import milliseconds
from ...summary.summary import Summary, server_errors
from ...text import clean
from ..console import print_findings
from ..fitted_table import Cell, Column, Row, print_table
from ..layout import STYLES, styled_line
from ..terminal import BriefConsole

_INCONCLUSIVE = "?"

RUN_ROWS: tuple[tuple[str, Callable[[Summary], str]], ...] = (
    ("requests", lambda summary: str(summary.requests)),
    ("requests/s", lambda summary: f"{summary.achieved_rate:.2f}"),
    ("failed", lambda summary: str(sum(server_errors(summary).values()))),
    ("cut off (lower bounds)", lambda summary: str(summary.censored)),
    ("device idle", lambda summary: f"{summary.engine.device_idle:.2%}" if summary.engine else "-"),
    ("device ms per step", lambda summary: milliseconds(summary.engine.device_step_ms) if summary.engine else "-"),
    ("host ms per step", lambda summary: milliseconds(summary.engine.host_step_ms) if summary.engine else "-"),
    ("preemptions", lambda summary: str(summary.engine.num_preemptions) if summary.engine else "-"),
)
"""Rows after the metrics; those that are empty for all targets are left out."""


def print_comparison(console: Console, comparison: Comparison, summaries: Mapping[str, Summary]) -> None:
    """Print it; where it is to be brief, what was found. `summaries`: of all targets, by name, the first one first."""
    first = summaries[comparison.first]
    print_findings(console, comparison_findings(comparison, summaries))
    if isinstance(console, BriefConsole):
        print_findings(console, results(comparison))
        return
    console.print()
    rounds = f", {comparison.rounds} rounds in turns" if comparison.rounds > 1 else ""
    about = f"{first.workload}, class {comparison.traffic_class}, {first.model}, seed {first.seed}"
    console.print(clean(about) + rounds)
    for name, summary in summaries.items():
        console.print(clean(f"{name}: {summary.target}"))
    console.print()
    _print_table(console, comparison, summaries)
    console.print()
    for footnote in footnotes(comparison, summaries):
        console.print(styled_line(footnote))
    console.print()
    print_findings(console, results(comparison))


def _print_table(console: Console, comparison: Comparison, summaries: Mapping[str, Summary]) -> None:
    """Where there is no room, the last targets are left out first, and in the end all but the marks of the first."""
    columns = [Column("ms", is_text=True), Column(comparison.first, rank=1)]
    for place, target in enumerate(comparison.targets):
        columns += [
            Column(target.name, rank=place + 1),
            Column("", rank=place + 1 if place else 0, is_text=True, in_note=target.name),
        ]
    table = []
    for name, (first, others) in rows(comparison):
        cells: list[Cell] = [metric_label(name), first]
        for value, difference in others:
            cells += [value, _mark(difference)]
        table.append(Row(cells))
    for name, values in run_rows(summaries):
        table.append(Row([name, values[0], *(cell for value in values[1:] for cell in (value, ""))]))
    print_table(console, columns, table, gap=2, elsewhere="--html or --markdown FILE has all")


def rows(comparison: Comparison) -> Iterator[tuple[str, tuple[str, list[tuple[str, Difference | None]]]]]:
    """By metric and statistic: the first target's value, and each other one's with its difference."""
    by_target = [{one.name: one for one in target.differences} for target in comparison.targets]
    for name in dict.fromkeys(name for found in by_target for name in found):
        found = [differences.get(name) for differences in by_target]
        known = next(one for one in found if one is not None)
        others = [(value_in_words(one, one.other) if one is not None else "-", one) for one in found]
        yield name, (value_in_words(known, known.first), others)


def metric_label(name: str) -> str:
    """A difference's name as it is shown."""
    return clean(name).replace("output_tokens_per_s", "output tokens/s")


def run_rows(summaries: Mapping[str, Summary]) -> Iterator[tuple[str, list[str]]]:
    """Values of whole runs, by name: one of each target."""
    for name, show in RUN_ROWS:
        values = [show(summary) for summary in summaries.values()]
        if any(value not in ("-", "0") for value in values):
            yield name, values


def _mark(difference: Difference | None) -> Text:
    if difference is None:
        return Text("-")
    verdict: Verdict = difference.verdict
    shown = _INCONCLUSIVE if verdict is Verdict.INCONCLUSIVE else str(verdict)
    if verdict is Verdict.NOT_JUDGED:
        return Text("-")
    return Text(change_alone(difference) if difference.is_real else shown, style=STYLES[verdict.tone])
