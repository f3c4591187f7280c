"""Several runs of the same traffic side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .console import SIMULATED, milliseconds
from .summary import MetricSummary, Summary, Verdict, doubts_with

_METRICS = ("ttft", "itl", "max_gap", "e2e")

_RUN_ROWS: tuple[tuple[str, Callable[[Summary], str]], ...] = (
    ("measured s", lambda summary: f"{summary.measured_s:.0f}"),
    ("requests/s", lambda summary: f"{summary.achieved_rate:.2f}"),
    ("output tokens/s", lambda summary: f"{summary.output_tokens_per_s:.0f}"),
    ("device idle", lambda summary: f"{summary.engine.device_idle:.2%}" if summary.engine else "-"),
    ("device ms a step", lambda summary: milliseconds(summary.engine.device_step_ms) if summary.engine else "-"),
    ("host ms a step", lambda summary: milliseconds(summary.engine.host_step_ms) if summary.engine else "-"),
    ("preemptions", lambda summary: str(summary.engine.num_preemptions) if summary.engine else "-"),
)


def print_comparison(console: Console, runs: Mapping[str, Summary]) -> None:
    """Print the runs as columns: p50, p99 and tail ratio of each metric in the verdict's class, then the rest."""
    first = next(iter(runs.values()))
    traffic_class = first.verdict_class
    if first.simulated:
        console.print(SIMULATED)
    for name, summary in runs.items():
        if not summary.is_complete:
            console.print(Text(f"INTERRUPTED: {name} did not finish", style="bold yellow"))
        if not summary.succeeded:
            text = f"NOTHING ENDED in {name}: its figures are lower bounds; run longer"
            console.print(Text(text, style="bold red"))
    console.print(f"{first.workload}, class {traffic_class}, {first.model}, seed {first.seed}")
    for name, summary in runs.items():
        console.print(f"{name}: {summary.target}")
    console.print()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("ms", no_wrap=True)
    for name in runs:
        table.add_column(name, justify="right", no_wrap=True)
    for metric in _METRICS:
        measured = [summary.metrics.get(metric, {}).get(traffic_class) for summary in runs.values()]
        if any(measured):
            table.add_row(f"{metric} p50", *[milliseconds(value.p50_ms) if value else "-" for value in measured])
            table.add_row(f"{metric} p99", *[milliseconds(value.p99_ms) if value else "-" for value in measured])
            table.add_row(f"{metric} p99/p50", *[_ratio(value) for value in measured], end_section=True)
    for name, show in _RUN_ROWS:
        table.add_row(name, *[show(summary) for summary in runs.values()])
    if any(summary.errors or summary.censored for summary in runs.values()):
        table.add_row("failed", *[str(sum(summary.errors.values())) for summary in runs.values()])
        table.add_row("cut off (lower bounds)", *[str(summary.censored) for summary in runs.values()])
    console.print(table)
    console.print()
    for name, summary in runs.items():
        for problem in doubts_with(summary, _METRICS, traffic_class):
            console.print(Text("NOT TRUSTED", style="bold yellow") + Text(f": {name}: {problem}", style="default"))
        for warning in summary.warnings:
            console.print(Text(f"note: {name}: {warning}", style="yellow"))


def _ratio(value: MetricSummary | None) -> Text:
    if value is None:
        return Text("-")
    if value.verdict is Verdict.TOO_FEW:
        return Text(f"{value.tail_ratio:.2f} (n={value.count})", style="yellow")
    style = {Verdict.FLAGGED: "bold red", Verdict.BORDERLINE: "yellow"}.get(value.verdict, "green")
    return Text(f"{value.tail_ratio:.2f}", style=style)
