"""A run on the terminal: the verdict first, then the numbers with their pictures, then what to make of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from hdrh.histogram import HdrHistogram
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..formatting import milliseconds, one_line
from ..gates.judge import Judgement, Outcome
from ..recording.recorder import ALL, RESUMES
from ..run.histogram_log import tag
from ..summary.metric import MetricSummary
from ..summary.state import MIN_SAMPLES, State
from ..summary.summary import Summary
from .fact_lines import fact_lines
from .percentile_picture import percentile_picture, side_by_side
from .verdict_lines import verdict_lines

_SHOWN_METRICS = ("ttft", "fresh_ttft", "continued_ttft", *RESUMES, "itl", "max_gap", "tpot", "e2e", "session")
_BY_CLASS = ("ttft", "itl", "max_gap", "e2e")
"""Of the others there is one line, for all classes: a report is to fit on a screen. summary.json has them all."""
_PICTURED = ("ttft", "itl", "e2e")
_NARROWEST = 79
_OUTCOME_STYLES = {Outcome.PASS: "green", Outcome.FAIL: "bold red", Outcome.INCONCLUSIVE: "yellow"}


def print_summary(
    console: Console,
    summary: Summary,
    judgements: Iterable[Judgement] = (),
    histograms: Mapping[str, HdrHistogram] | None = None,
) -> None:
    """Print a whole run. `histograms`: by tag, for the pictures."""
    for line in verdict_lines(summary):
        console.print(line)
    console.print()
    if summary.metrics:
        console.print(_table(summary))
        console.print()
    for picture in _pictures(console, summary, histograms or {}):
        console.print(Text(picture), no_wrap=True)
    console.print(fact_lines(summary))
    for warning in summary.warnings:
        console.print(Text(f"note: {one_line(warning)}", style="yellow"))
    print_judgements(console, judgements)


def print_judgements(console: Console, judgements: Iterable[Judgement]) -> None:
    """What became of rules, a line each."""
    for judgement in judgements:
        line = Text(f"{judgement.outcome.upper():<12} ", style=_OUTCOME_STYLES[judgement.outcome])
        console.print(line + Text(one_line(f"{judgement.rule}: {judgement.reason}"), style="default"))


def _pictures(console: Console, summary: Summary, histograms: Mapping[str, HdrHistogram]) -> Iterator[str]:
    """Percentile curves of the verdict's class, as many side by side as there are."""
    traffic_class = summary.verdict_class
    of_class = "" if traffic_class == ALL else f" {one_line(traffic_class)}"
    shown = [
        percentile_picture(histogram, f"     ms {metric}{of_class}", has_braille=_has_braille(console))
        for metric in _PICTURED
        if (histogram := histograms.get(tag(metric, traffic_class))) is not None and histogram.get_total_count()
    ]
    if shown and console.width >= _NARROWEST:
        yield from side_by_side(shown, gap=2)
        yield ""


def _has_braille(console: Console) -> bool:
    return console.encoding.lower().replace("-", "").startswith("utf")


def _table(summary: Summary) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold", title_justify="left")
    table.add_column("ms", no_wrap=True)
    for name in ("n", *(f"p{percentile:g}" for percentile in summary.percentiles), "max", "p99/p50"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for metric in _SHOWN_METRICS:
        by_class = summary.metrics.get(metric, {})
        has_classes = len(by_class) > 2 and metric in _BY_CLASS
        for traffic_class, value in by_class.items():
            if traffic_class != ALL and not has_classes:
                continue
            label = metric if traffic_class == ALL else f"  {traffic_class}"
            table.add_row(label, *_cells(value), style="" if traffic_class == ALL else "dim")
    return table


def _cells(value: MetricSummary) -> list[str | Text]:
    style = "bold red" if value.verdict is State.FLAGGED else ""
    short = {
        State.FLAGGED: "FLAGGED",
        State.BORDERLINE: "unsure",
        State.TOO_FEW: f"n<{MIN_SAMPLES}",
        State.OK: "ok",
        State.NOT_JUDGED: "",
    }[value.verdict]
    return [
        str(value.count),
        *(percentile_cell(value, float(name), at_ms) for name, at_ms in value.percentiles_ms.items()),
        milliseconds(value.max_ms),
        Text(f"{value.tail_ratio:.2f}", style=style),
        Text(short, style=style or ("green" if value.verdict is State.OK else "yellow")),
    ]


def percentile_cell(value: MetricSummary, percentile: float, at_ms: float) -> str:
    """Nothing where the samples are too few to have any beyond it."""
    return milliseconds(at_ms) if value.count * (100 - percentile) >= 100 - 1e-6 else "-"
