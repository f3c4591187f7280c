"""Runs as a table for spreadsheets and data frames: a row for each metric and class."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence

from ..statistics.interval import Interval
from ..summary.metric import MetricSummary
from ..summary.slowdown import SlowdownSummary
from ..summary.summary import Summary, share_failed
from ..text import clean
from .shown_run import ShownRun

_Cell = str | int | float | None

_OF_METRIC: dict[str, Callable[[MetricSummary], _Cell]] = {
    "n": lambda metric: metric.count,
    "mean_ms": lambda metric: metric.mean_ms,
    "p50_ms": lambda metric: metric.p50_ms,
    "p90_ms": lambda metric: metric.p90_ms,
    "p99_ms": lambda metric: metric.p99_ms,
    "p999_ms": lambda metric: metric.p999_ms,
    "max_ms": lambda metric: metric.max_ms,
    "tail_ratio": lambda metric: metric.tail_ratio,
    "tail_ratio_low": lambda metric: None if metric.tail_ratio_interval is None else metric.tail_ratio_interval.low,
    "tail_ratio_high": lambda metric: _high(metric.tail_ratio_interval),
    "normalised_ratio": lambda metric: metric.normalised_ratio,
    "verdict": lambda metric: metric.verdict.value,
}
_OF_SLOWDOWN: dict[str, Callable[[SlowdownSummary], _Cell]] = {
    "slowdown_p50": lambda slowdown: slowdown.p50,
    "slowdown_p99": lambda slowdown: slowdown.p99,
}
_OF_SUMMARY: dict[str, Callable[[Summary], _Cell]] = {
    "workload": lambda summary: summary.workload,
    "target": lambda summary: summary.target,
    "model": lambda summary: summary.model,
    "seed": lambda summary: summary.seed,
    "verdict_class": lambda summary: summary.verdict_class,
    "simulated": lambda summary: str(summary.simulated).lower(),
    "is_complete": lambda summary: str(summary.is_complete).lower(),
    "measured_s": lambda summary: summary.measured_s,
    "requests": lambda summary: summary.requests,
    "offered_rate": lambda summary: summary.offered_rate,
    "achieved_rate": lambda summary: summary.achieved_rate,
    "output_tokens_per_s": lambda summary: summary.output_tokens_per_s,
    "error_share": lambda summary: round(share_failed(summary), 6),
    "goodput_share": lambda summary: None if summary.goodput is None else summary.goodput.share,
    "connections_opened": lambda summary: summary.connections.opened,
    "connect_mean_ms": lambda summary: summary.connections.mean_ms(summary.connections.connect_s),
    "dns_mean_ms": lambda summary: summary.connections.mean_ms(summary.connections.dns_s),
    "tls_mean_ms": lambda summary: summary.connections.mean_ms(summary.connections.tls_s),
    "retried": lambda summary: summary.connections.retried,
    "not_streamed": lambda summary: summary.delivery.num_not_streamed(),
    "malformed_events": lambda summary: summary.delivery.malformed_events,
    "unanswered": lambda summary: summary.delivery.unanswered,
}
"""Of the whole run, the same in each of its rows: one table with one kind of row is what spreadsheets can filter."""

COLUMNS = ("run", "metric", "class", *_OF_METRIC, *_OF_SLOWDOWN, "started_at", *_OF_SUMMARY)
_FORMULA_STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Those of full width are the same to a spreadsheet in Japanese."""


def render_csv(runs: Sequence[ShownRun]) -> str:
    """As RFC 4180 has it: with a header, CRLF at the end of each line. Numbers are those of summary.json."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for run in runs:
        for row in _rows(run):
            writer.writerow([_cell(value) for value in row])
    return out.getvalue()


def _rows(run: ShownRun) -> list[list[_Cell]]:
    of_run = [run.config.started_at, *(read(run.summary) for read in _OF_SUMMARY.values())]
    rows: list[list[_Cell]] = [
        [
            *(run.name, metric, traffic_class, *(read(value) for read in _OF_METRIC.values())),
            *_slowdown_cells(run.summary.slowdown.get(metric, {}).get(traffic_class)),
            *of_run,
        ]
        for metric, by_class in run.summary.metrics.items()
        for traffic_class, value in by_class.items()
    ]
    # A run without a result has a row too: otherwise no one would notice that it is missing.
    return rows or [[run.name, None, None, *_slowdown_cells(None), *(None for _ in _OF_METRIC), *of_run]]


def _slowdown_cells(slowdown: SlowdownSummary | None) -> list[_Cell]:
    return [None if slowdown is None else read(slowdown) for read in _OF_SLOWDOWN.values()]


def _high(interval: Interval | None) -> float | None:
    """Empty where there is none, as in JSON: infinity is no number to every reader of tables."""
    return None if interval is None or interval.is_open else interval.high


def _cell(value: _Cell) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        return repr(value)
    # Names of classes, models and targets come from outside. A spreadsheet would compute a text that begins like a
    # formula, which may send other cells elsewhere; after an apostrophe it is text. Line breaks would be allowed
    # between quotes, but not every reader of lines knows that.
    text = clean(value)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
