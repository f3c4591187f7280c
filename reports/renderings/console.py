"""A run on the terminal: the verdict first, then the numbers with their pictures, then what to make of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from hdrh.histogram import HdrHistogram
from rich.console import Console
from rich.text import Text

from ..formatting import milliseconds
from ..gates.judge import Judgement, Outcome
from ..recording.recorder import ALL, RESUMES, TTFA
from ..recording.slowdown import SLOWED
from ..run.command import Command
from ..run.histogram_log import tag
from ..summary.finding import Finding, Label
from ..summary.findings import findings
from ..summary.metric import MetricSummary
from ..summary.state import State
from ..summary.summary import Summary
from ..text import clean
from .facts import facts, repeat_fact
from .fitted_table import Column, Row, print_table
from .layout import STYLES, styled_line
from .percentile_picture import percentile_picture, side_by_side
from .slowdown_rows import HEADER, SLOWEST, slowdown_rows
from .terminal import BriefConsole

_SHOWN_METRICS = ("ttft", TTFA, "fresh_ttft", "continued_ttft", *RESUMES, "itl", "max_gap", "tpot", "e2e", "session")
_BY_CLASS = ("ttft", TTFA, "itl", "max_gap", "e2e")
"""Of the others there is one line, for all classes: a report is to fit on a screen. summary.json has them all."""
_PICTURED = ("ttft", "itl", "e2e")
_PICTURE_COLUMNS, _GAP = 25, 2
_ELSEWHERE = "--csv FILE has all"
_LONGEST_OUTCOME = len("INCONCLUSIVE")
_EXPLANATIONS = frozenset({Label.CAUSE, Label.STALL, Label.ADVICE, Label.KEY, Label.NOTE})


def print_summary(
    console: Console,
    summary: Summary,
    judgements: Iterable[Judgement] = (),
    histograms: Mapping[str, HdrHistogram] | None = None,
) -> None:
    """Print a whole run; where it is to be brief, what was found. `histograms`: by tag, for the pictures."""
    print_findings(console, findings(summary))
    if isinstance(console, BriefConsole):
        print_judgements(console, judgements)
        return
    console.print()
    if summary.metrics:
        _print_metrics(console, summary)
        console.print()
    if summary.slowdown:
        _print_slowdown(console, summary)
        console.print()
    for picture in _pictures(console, summary, histograms or {}):
        console.print(Text(picture), no_wrap=True)
    for line in facts(summary):
        console.print(styled_line(line))
    print_judgements(console, judgements)


def print_findings(console: Console, found: Iterable[Finding]) -> None:
    """A line each; where it is to be brief, without explanations."""
    for finding in found:
        if not (isinstance(console, BriefConsole) and finding.label in _EXPLANATIONS):
            console.print(styled_line(finding))


def print_judgements(console: Console, judgements: Iterable[Judgement], heading: str = "") -> None:
    """What became of rules, a line each; where it is to be brief, of those that did not hold."""
    shown = [one for one in judgements if one.outcome is not Outcome.PASS or not isinstance(console, BriefConsole)]
    if shown and heading:
        console.print(heading)
    for judgement in shown:
        console.print(styled_line(judgement, _LONGEST_OUTCOME))


def print_notes(console: Console, notes: Iterable[str]) -> None:
    """What else to know, a line each; nothing where it is to be brief."""
    for note in () if isinstance(console, BriefConsole) else notes:
        console.print(Text(f"note: {note}", style="yellow"))


def print_repeat(console: Console, command: Command | None) -> None:
    """What does it again, on one line, to be copied; nothing where it is to be brief."""
    for fact in () if isinstance(console, BriefConsole) else repeat_fact(command):
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
    if shown := shown[: (console.width + _GAP) // (_PICTURE_COLUMNS + _GAP)]:
        yield from side_by_side(shown, _GAP)
        yield ""


def _has_braille(console: Console) -> bool:
    return console.encoding.lower().replace("-", "").startswith("utf")


def _print_metrics(console: Console, summary: Summary) -> None:
    """What is needed least is left out first where there is no room: percentiles between median and p99."""
    percentiles = list(summary.percentiles)
    kept = {50.0, 99.0 if 99.0 in percentiles else max(percentiles)}
    columns = [
        Column("ms", is_text=True),
        Column("n", rank=3),
        *(Column(f"p{one:g}", rank=0 if one == max(kept) else 1 if one in kept else 5) for one in percentiles),
        Column("max", rank=4),
        Column("p99/p50", rank=0),
        Column("verdict", rank=2, is_text=True),
    ]
    print_table(console, columns, list(_metric_rows(summary)), elsewhere=_ELSEWHERE)


def _metric_rows(summary: Summary) -> Iterator[Row]:
    for metric in _SHOWN_METRICS:
        by_class = summary.metrics.get(metric, {})
        has_classes = len(by_class) > 2 and metric in _BY_CLASS
        for traffic_class, value in by_class.items():
            if traffic_class != ALL and not has_classes:
                continue
            label = clean(metric) if traffic_class == ALL else f"  {clean(traffic_class)}"
            yield Row([label, *_cells(value)], "" if traffic_class == ALL else "dim")


_SLOWDOWN_RANKS = {"ttft": 0, "e2e": 1, "waiting": 2, "interference": 3, "work": 4, "tpot": 5}


def _print_slowdown(console: Console, summary: Summary) -> None:
    columns, metric = [Column(HEADER[0], is_text=True)], ""
    for name in HEADER[1:]:
        metric = name if name in SLOWED else metric
        is_of_metric = name == metric or name.startswith("p")
        rank = _SLOWDOWN_RANKS[metric if is_of_metric else name]
        columns.append(Column(name, rank, in_note=f"{metric} slowdown" if is_of_metric else name))
    rows = []
    for name, *cells in slowdown_rows(summary):
        is_slowest = name == SLOWEST
        style = "" if is_slowest or name == summary.verdict_class else "dim"
        rows.append(Row([f"  {name}" if is_slowest else clean(name), *cells], style))
    print_table(console, columns, rows, elsewhere=_ELSEWHERE)


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
