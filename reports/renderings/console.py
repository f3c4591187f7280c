"""A run on the terminal: the verdict first, then the numbers with their pictures, then what to make of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from hdrh.histogram import HdrHistogram
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..formatting import milliseconds
from ..gates.judge import Judgement
from ..recording.recorder import ALL, RESUMES, TTFA
from ..run.command import Command
from ..run.histogram_log import tag
from ..summary.findings import findings
from ..summary.metric import MetricSummary
from ..summary.state import State
from ..summary.summary import Summary
from ..text import clean
from .facts import facts, repeat_fact
from .layout import STYLES, styled_line
from .percentile_picture import percentile_picture, side_by_side
from .slowdown_rows import HEADER, SLOWEST, slowdown_rows

_SHOWN_METRICS = ("ttft", TTFA, "fresh_ttft", "continued_ttft", *RESUMES, "itl", "max_gap", "tpot", "e2e", "session")
_BY_CLASS = ("ttft", TTFA, "itl", "max_gap", "e2e")
"""Of the others there is one line, for all classes: a report is to fit on a screen. summary.json has them all."""
_PICTURED = ("ttft", "itl", "e2e")
_NARROWEST = 79
_LONGEST_OUTCOME = len("INCONCLUSIVE")


def print_summary(
    console: Console,
    summary: Summary,
    judgements: Iterable[Judgement] = (),
    histograms: Mapping[str, HdrHistogram] | None = None,
) -> None:
    """Print a whole run. `histograms`: by tag, for the pictures."""
    for finding in findings(summary):
        console.print(styled_line(finding))
    console.print()
    if summary.metrics:
        console.print(_table(summary))
        console.print()
    if summary.slowdown:
        console.print(_slowdown_table(summary))
        console.print()
    for picture in _pictures(console, summary, histograms or {}):
        console.print(Text(picture), no_wrap=True)
    for line in facts(summary):
        console.print(styled_line(line))
    print_judgements(console, judgements)


def print_judgements(console: Console, judgements: Iterable[Judgement]) -> None:
    """What became of rules, a line each."""
    for judgement in judgements:
        console.print(styled_line(judgement, _LONGEST_OUTCOME))


def print_repeat(console: Console, command: Command | None) -> None:
    """What does it again, on one line, to be copied."""
    for fact in repeat_fact(command):
        console.print(styled_line(fact), soft_wrap=True)


def _pictures(console: Console, summary: Summary, histograms: Mapping[str, HdrHistogram]) -> Iterator[str]:
    """Percentile curves of the verdict's class, as many side by side as there are."""
    traffic_class = summary.verdict_class
    of_class = "" if traffic_class == ALL else f" {clean(traffic_class)}"
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
    table.add_column("verdict", no_wrap=True)
    for metric in _SHOWN_METRICS:
        by_class = summary.metrics.get(metric, {})
        has_classes = len(by_class) > 2 and metric in _BY_CLASS
        for traffic_class, value in by_class.items():
            if traffic_class != ALL and not has_classes:
                continue
            label = clean(metric) if traffic_class == ALL else f"  {clean(traffic_class)}"
            table.add_row(label, *_cells(value), style="" if traffic_class == ALL else "dim")
    return table


def _slowdown_table(summary: Summary) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold", title_justify="left")
    for place, name in enumerate(HEADER):
        table.add_column(name, justify="right" if place else "left", no_wrap=True)
    for name, *cells in slowdown_rows(summary):
        of_verdict = name == summary.verdict_class
        label = f"  {name}" if name == SLOWEST else clean(name)
        table.add_row(label, *cells, style="" if of_verdict or name == SLOWEST else "dim")
    return table


def _cells(value: MetricSummary) -> list[str | Text]:
    state = value.verdict
    return [
        str(value.count),
        *(percentile_cell(value, float(name), at_ms) for name, at_ms in value.percentiles_ms.items()),
        milliseconds(value.max_ms),
        Text(f"{value.tail_ratio:.2f}", style=STYLES[state.tone] if state is State.FLAGGED else ""),
        Text("" if state is State.NOT_JUDGED else state, style=STYLES[state.tone]),
    ]


def percentile_cell(value: MetricSummary, percentile: float, at_ms: float) -> str:
    """Nothing where the samples are too few to have any beyond it; `>=` before what is only a lower bound."""
    if value.count * (100 - percentile) < 100 - 1e-6:
        return "-"
    is_bound = value.cut_off > 0 and at_ms >= value.max_ms
    return f">={milliseconds(at_ms)}" if is_bound else milliseconds(at_ms)
