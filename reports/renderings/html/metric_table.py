"""All metrics by class as tables: readable as they are, sortable where scripts run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...formatting import milliseconds
from ...recording.recorder import ALL
from ...summary.metric import MetricSummary
from ...summary.state import STATE_MEANINGS, State
from ...summary.summary import Summary
from ..console import percentile_cell
from ..shown_run import ShownRun
from .header import swatch
from .markup import Html, element, join, scrolling

METRIC_MEANINGS = {
    "ttft": "from when a turn was due to its first content",
    "ttfa": "from when a turn was due to the first token of its answer, its reasoning over",
    "fresh_ttft": "ttft of first turns",
    "continued_ttft": "ttft of later turns without a tool pause",
    "resume_ttft": "ttft of turns that follow a tool pause",
    "resume_ttft_under_1s": "resume_ttft after pauses under 1 s",
    "resume_ttft_1_to_10s": "resume_ttft after pauses of 1 to 10 s",
    "resume_ttft_over_10s": "resume_ttft after pauses over 10 s",
    "itl": "each gap between chunks of a stream",
    "max_gap": "the longest gap of each request",
    "tpot": "time per output token of each request, an average",
    "e2e": "from when a turn was due to its end",
    "session": "from a session's first due to its last end",
    "session_model": "the part of a session that was not pauses",
    "worst_ttft": "the largest ttft of a session's turns",
    "final_ttft": "ttft of a session's last turn",
    "start_delay": "from when a turn was due to when the client sent it, without the wait for a place: its own fault",
}
"""What each metric is, in a few words."""


def state_word(state: State) -> Html:
    """A state in its colour, with what it means; nothing where nothing was judged."""
    if state is State.NOT_JUDGED:
        return Html("")
    return element("span", state, class_=f"word {state.tone}", title=STATE_MEANINGS[state])


def metric_tables(runs: Sequence[ShownRun]) -> Html:
    """A table for each run."""
    return join(_of_run(index, run, is_alone=len(runs) == 1) for index, run in enumerate(runs))


def _of_run(index: int, run: ShownRun, *, is_alone: bool) -> Html:
    heading = "" if is_alone else element("h3", swatch(index), run.name)
    if not run.summary.metrics:
        return join([heading, element("p", "Nothing was timed.", class_="empty")])
    return join([heading, _table(run.summary, f"Latencies of {run.name}, in milliseconds")])


def _table(summary: Summary, caption: str) -> Html:
    percentiles = [f"p{percentile:g}" for percentile in summary.percentiles]
    columns = ["metric", "class", "n", *percentiles, "max", "p99/p50", "verdict"]
    head = element("tr", *(_column(name, is_text=name in ("metric", "class")) for name in columns))
    rows = (
        _row(metric, traffic_class, value, summary)
        for metric, by_class in summary.metrics.items()
        for traffic_class, value in _shown_classes(by_class)
    )
    table = element(
        "table",
        element("caption", caption, class_="hidden"),
        element("thead", head),
        element("tbody", *rows),
        class_="metrics",
    )
    return scrolling(table, caption)


def _column(name: str, *, is_text: bool) -> Html:
    return element("th", name, scope="col", class_="text" if is_text else "number", data_sorts="")


def _shown_classes(by_class: dict[str, MetricSummary]) -> Iterable[tuple[str, MetricSummary]]:
    """With a single class, that it is all says enough."""
    return by_class.items() if len(by_class) > 2 else [item for item in by_class.items() if item[0] == ALL]


def _row(metric: str, traffic_class: str, value: MetricSummary, summary: Summary) -> Html:
    is_all = traffic_class == ALL
    cells = [
        element("th", metric, scope="row", class_="text", title=METRIC_MEANINGS.get(metric), data_value=metric),
        element("td", traffic_class, class_="text", data_value=traffic_class),
        _number(f"{value.count:,}", value.count),
        *(_at(value, name, at_ms) for name, at_ms in value.percentiles_ms.items()),
        _number(milliseconds(value.max_ms), value.max_ms),
        _number(f"{value.tail_ratio:.2f}", value.tail_ratio),
        element("td", state_word(value.verdict), class_="number", data_value=list(State).index(value.verdict)),
    ]
    of_verdict = traffic_class == summary.verdict_class
    return element("tr", *cells, class_=" ".join(filter(None, ("all" * is_all, "judged" * of_verdict))) or None)


def _at(value: MetricSummary, name: str, at_ms: float) -> Html:
    shown = percentile_cell(value, float(name), at_ms)
    return _number(shown, None if shown == "-" else at_ms)


def _number(shown: str, value: float | None) -> Html:
    return element("td", shown, class_="number", data_value="" if value is None else f"{value:.6g}")
