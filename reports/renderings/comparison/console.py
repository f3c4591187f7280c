"""A comparison on the terminal: what differs, in words and in a table; then what can be believed of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...comparison.comparison import ComparedTarget, Comparison
from ...comparison.difference import Difference, Verdict
from ...comparison.sentence import percent, value_in_words
from ...formatting import milliseconds, one_line
from ...recording.recorder import JUDGED
from ...summary.doubts import doubts_with
from ...summary.summary import Summary
from ..verdict_lines import SIMULATED

_STYLES = {Verdict.BETTER: "bold green", Verdict.WORSE: "bold red", Verdict.SAME: "dim", Verdict.UNCLEAR: "yellow"}
_SHORT = {
    Verdict.SAME: "same",
    Verdict.UNCLEAR: "?",
    Verdict.TOO_FEW: "n<",
    Verdict.UNTRUSTED: "not trusted",
}

RUN_ROWS: tuple[tuple[str, Callable[[Summary], str]], ...] = (
    ("requests", lambda summary: str(summary.requests)),
    ("requests/s", lambda summary: f"{summary.achieved_rate:.2f}"),
    ("failed", lambda summary: str(sum(summary.errors.values()))),
    ("cut off (lower bounds)", lambda summary: str(summary.censored)),
    ("device idle", lambda summary: f"{summary.engine.device_idle:.2%}" if summary.engine else "-"),
    ("device ms a step", lambda summary: milliseconds(summary.engine.device_step_ms) if summary.engine else "-"),
    ("host ms a step", lambda summary: milliseconds(summary.engine.host_step_ms) if summary.engine else "-"),
    ("preemptions", lambda summary: str(summary.engine.num_preemptions) if summary.engine else "-"),
)
"""Beside the metrics; those that no target has anything of are left out."""


def print_comparison(console: Console, comparison: Comparison, summaries: Mapping[str, Summary]) -> None:
    """Print it. `summaries`: of all its targets, by name, the first of them first."""
    first = summaries[comparison.first]
    if any(summary.simulated for summary in summaries.values()):
        console.print(SIMULATED)
    for line in warning_lines(comparison, summaries):
        console.print(line)
    for target in comparison.targets:
        console.print(Text("VERDICT", style="bold cyan") + Text(f": {target.verdict}", style="default"))
    console.print()
    rounds = f", {comparison.rounds} rounds in turns" if comparison.rounds > 1 else ""
    about = f"{first.workload}, class {comparison.traffic_class}, {first.model}, seed {first.seed}"
    console.print(one_line(about) + rounds)
    for name, summary in summaries.items():
        console.print(one_line(f"{name}: {summary.target}"))
    console.print()
    console.print(_table(comparison, summaries))
    console.print()
    for note in footnotes(comparison, summaries):
        console.print(Text(note, style="yellow" if note.startswith("note") else ""))


def warning_lines(comparison: Comparison, summaries: Mapping[str, Summary]) -> Iterator[Text]:
    """What must be known before anything else: what failed, what did not finish, what is not to be trusted."""
    for name, why in comparison.failed.items():
        yield Text(f"FAILED: {name}: {one_line(why)}", style="bold red")
    for name, summary in summaries.items():
        if not summary.is_complete:
            yield Text(f"INTERRUPTED: {name} did not finish", style="bold yellow")
        if not summary.succeeded:
            yield Text(f"NOTHING ENDED in {name}: its figures are lower bounds; run longer", style="bold red")
        for problem in doubts_with(summary, JUDGED, comparison.traffic_class):
            yield Text("NOT TRUSTED", style="bold yellow") + Text(f": {name}: {problem}", style="default")


def _table(comparison: Comparison, summaries: Mapping[str, Summary]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("ms", no_wrap=True)
    table.add_column(comparison.first, justify="right")
    for target in comparison.targets:
        table.add_column(target.name, justify="right")
        table.add_column("", no_wrap=True)
    for name, cells in rows(comparison):
        first, others = cells
        row: list[str | Text] = [name.replace("output_tokens_per_s", "output tokens/s"), first]
        for value, difference in others:
            row += [value, _mark(difference)]
        table.add_row(*row, end_section=name.endswith("/p50"))
    for name, values in run_rows(summaries):
        row = [name, values[0]]
        for value in values[1:]:
            row += [value, ""]
        table.add_row(*row)
    return table


def rows(comparison: Comparison) -> Iterator[tuple[str, tuple[str, list[tuple[str, Difference | None]]]]]:
    """By metric and statistic: the first target's value, and each other one's with its difference."""
    by_target = [{one.name: one for one in target.differences} for target in comparison.targets]
    for name in dict.fromkeys(name for found in by_target for name in found):
        found = [differences.get(name) for differences in by_target]
        known = next(one for one in found if one is not None)
        others = [(value_in_words(one, one.other) if one is not None else "-", one) for one in found]
        yield name, (value_in_words(known, known.first), others)


def run_rows(summaries: Mapping[str, Summary]) -> Iterator[tuple[str, list[str]]]:
    """Values of whole runs, by name: one of each target."""
    for name, show in RUN_ROWS:
        values = [show(summary) for summary in summaries.values()]
        if any(value not in ("-", "0") for value in values):
            yield name, values


def _mark(difference: Difference | None) -> Text:
    if difference is None:
        return Text("-")
    if difference.is_real:
        return Text(percent(difference.change), style=_STYLES[difference.verdict])
    return Text(_SHORT[difference.verdict], style=_STYLES.get(difference.verdict, "yellow"))


def footnotes(comparison: Comparison, summaries: Mapping[str, Summary]) -> Iterator[str]:
    """How to read the marks, what would tell more, and what to know."""
    floor = comparison.floor
    yield (
        f"%, x: a real difference from {comparison.first} (all intervals together hold at "
        f"{comparison.confidence:.0%}); same: less than {floor.share:.0%} or {floor.ms:g} ms; ?: cannot be told"
    )
    for target in comparison.targets:
        if any(difference.is_restless for difference in target.differences):
            yield f"note: {target.name}: the rounds differ by more than chance; was the machine disturbed?"
        for note in target.notes:
            yield f"note: {target.name}: {note}"
        yield from _recommendation(comparison, target)
    for name, summary in summaries.items():
        for warning in summary.warnings:
            yield f"note: {name}: {one_line(warning)}"


def _recommendation(comparison: Comparison, target: ComparedTarget) -> Iterator[str]:
    if not target.recommended_requests:
        return
    texts = []
    for metric, requests in target.recommended_requests.items():
        rounds = target.recommended_rounds.get(metric, 0)
        texts.append(f"{metric} {requests:,} requests" + (f" (--rounds {rounds})" if comparison.rounds > 1 else ""))
    yield (
        f"to tell a p99 that differs by {comparison.effect:.0%}, nine times in ten, {target.name} would need: "
        + ", ".join(texts)
    )
