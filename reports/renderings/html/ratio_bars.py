"""Tail ratios as bars on a logarithmic axis, with their intervals; without any script."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...formatting import factor, interval_in_words
from ...recording.recorder import JUDGED
from ...summary.metric import MetricSummary
from ...summary.state import FLAG_RATIO, State
from ..shown_run import ShownRun
from .header import swatch
from .markup import Html, cut_left, element, join, scrolling
from .metric_table import state_word

_TICKS = (1.0, FLAG_RATIO, 10.0, 30.0, 100.0, 300.0, 1000.0, 2.0, 5.0, 20.0, 50.0, 200.0, 500.0)
"""Those that matter most first: others go where there is room."""
_TICK_CLASSES = {1.0: "major", FLAG_RATIO: "limit-tick", 10.0: "major", 100.0: "major"}
"""Narrow windows leave the others out."""
_LEAST_DISTANCE = 7.0
"""Between ticks, in percent of the axis."""


def ratio_bars(runs: Sequence[ShownRun]) -> Html:
    """p99/p50 of each judged metric in the verdict's class, run by run."""
    groups = [
        (metric, [(index, run, value) for index, run in enumerate(runs) if (value := _measured(run, metric))])
        for metric in JUDGED
    ]
    shown = [value for _, bars in groups for _, _, value in bars]
    if not shown:
        return element("p", "Nothing was timed.", class_="empty")
    axis = _Axis(shown)
    rows = [
        _row(axis, metric if place == 0 else "", index, run, value, is_alone=len(runs) == 1)
        for metric, bars in groups
        for place, (index, run, value) in enumerate(bars)
    ]
    foot = element("tr", element("td"), element("td"), element("td", axis.scale()), element("td"), element("td"))
    head = element(
        "tr",
        *(element("th", name, scope="col") for name in ("metric", "run", "p99/p50", "ratio", "verdict")),
        class_="hidden",
    )
    caption = element("caption", "p99/p50 of each metric", class_="hidden")
    parts = (caption, element("thead", head), element("tbody", *rows), element("tfoot", foot))
    table = element("table", *parts, class_="ratios")
    return join([scrolling(table, "Tail ratios"), _key()])


def _measured(run: ShownRun, metric: str) -> MetricSummary | None:
    return run.summary.metrics.get(metric, {}).get(run.summary.verdict_class)


class _Axis:
    def __init__(self, values: Sequence[MetricSummary]) -> None:
        ends = [value.tail_ratio for value in values]
        ends += [end for value in values if (one := value.tail_ratio_interval) for end in (one.low, one.high)]
        ends += [value.normalised_ratio for value in values if value.normalised_ratio]
        self._end = max(*filter(math.isfinite, ends), FLAG_RATIO * 1.5) * 1.05

    def at(self, ratio: float) -> float:
        """Where a ratio is, in percent of the axis."""
        return round(100 * math.log(max(ratio, 1.0)) / math.log(self._end), 2)

    def scale(self) -> Html:
        ticks: list[float] = []
        for tick in _TICKS:
            if tick < self._end and all(abs(self.at(tick) - self.at(other)) >= _LEAST_DISTANCE for other in ticks):
                ticks.append(tick)
        marks = (
            element(
                "span", f"{tick:g}x", style=f"left:{self.at(tick)}%", class_=f"tick {_TICK_CLASSES.get(tick, 'minor')}"
            )
            for tick in sorted(ticks)
        )
        return element("div", *marks, class_="scale")


def _row(axis: _Axis, metric: str, index: int, run: ShownRun, value: MetricSummary, *, is_alone: bool) -> Html:
    has_few = value.verdict is State.TOO_FEW
    parts = [element("span", class_="limit", style=f"left:{axis.at(FLAG_RATIO)}%")]
    said = []
    bar = f"bar run-{index % 8}" + (" few" if has_few else "")
    parts.append(element("span", class_=bar, style=f"width:{axis.at(value.tail_ratio)}%"))
    if (interval := value.tail_ratio_interval) is not None:
        low = axis.at(interval.low)
        high = 100.0 if interval.is_open else axis.at(interval.high)
        whisker = "whisker open" if interval.is_open else "whisker"
        parts.append(element("span", class_=whisker, style=f"left:{low}%;width:{round(high - low, 2)}%"))
        said.append(interval_in_words(interval, factor))
    if value.normalised_ratio is not None:
        parts.append(element("span", class_="diamond", style=f"left:{axis.at(value.normalised_ratio)}%"))
        said.append(f"{value.normalised_ratio:.1f}x after normalising for request size")
    return element(
        "tr",
        element("th", metric, scope="row", class_="text"),
        element("td", swatch(index), cut_left(run.name), class_="text run-name") if not is_alone else element("td"),
        element("td", element("div", *parts, class_="bars"), title="; ".join(said) or None),
        element("td", f"{value.tail_ratio:.2f}x", class_="number"),
        element("td", state_word(value.verdict), class_="text"),
        class_="first" if metric else None,
    )


def _key() -> Html:
    marks = (
        ("limit", f"{FLAG_RATIO:g}x: above it a p99 is flagged"),
        ("whisker", "95% confidence interval of the ratio; to the edge without an end mark: no upper end"),
        ("diamond", "ratio once each request is divided by what one of its size should take"),
    )
    items = (element("li", element("span", element("span", class_=mark), class_="key"), text) for mark, text in marks)
    return element("ul", *items, class_="legend-notes")
