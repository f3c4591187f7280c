"""Each change with its interval as a picture: to the left what is better, to the right what is worse; no script."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...comparison.comparison import ComparedTarget, Comparison
from ...comparison.difference import Difference, Floor
from ...comparison.sentence import change_alone, change_in_words
from ..html.markup import Html, element, join, scrolling
from .console import metric_label

_TICKS = (1.0, 1.1, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0, 1000.0)
"""Factors, those that matter most first where there is room for few."""
_LEAST_DISTANCE = 8.0
"""Between ticks, in percent of the axis."""
_LEAST_END = 1.12
_WIDEST = 4.0
"""Times the largest change that an interval is drawn to at most: beyond it has no end mark."""


def interval_plots(comparison: Comparison) -> Html:
    """A picture for each target."""
    lead = (
        f"How much each number changed from {comparison.first}, as a factor, with the interval that it lies in (all of "
        f"them together hold at {comparison.confidence:.0%}). The band is what does not matter: a difference is real "
        "if its interval does not reach the line in the middle, and its mark is outside the band."
    )
    plots = (_plot(target, comparison.floor, is_alone=len(comparison.targets) == 1) for target in comparison.targets)
    return join([element("p", lead, class_="lead"), *plots])


def _plot(target: ComparedTarget, floor: Floor, *, is_alone: bool) -> Html:
    heading = "" if is_alone else element("h3", target.name)
    shown = [one for one in target.differences if one.change is not None and not one.is_share]
    if not shown:
        return join([heading, element("p", "Nothing could be judged.", class_="empty")])
    axis = _Axis(shown)
    head = element("tr", *(element("th", name, scope="col") for name in ("number", "change", "", "")), class_="hidden")
    foot = element("tr", element("td"), element("td", axis.scale()), element("td"), element("td"))
    table = element(
        "table",
        element("thead", head),
        element("tbody", *(_row(axis, one, floor) for one in shown)),
        element("tfoot", foot),
        class_="changes",
    )
    return join([heading, scrolling(table, f"Changes of {target.name}")])


class _Axis:
    """Factors on a logarithmic scale, the same way in both directions; places are in percent of its width."""

    def __init__(self, shown: Sequence[Difference]) -> None:
        changes = [abs(math.log(one.change)) for one in shown if one.change]
        ends = [abs(math.log(end)) for one in shown for end in (one.low, one.high) if end]
        widest = max(*changes, math.log(_LEAST_END)) + math.log(_WIDEST)
        self._end = max(min(max(ends), widest), math.log(_LEAST_END)) * 1.05

    def at(self, badness: float) -> float:
        """Where a factor is; above 1 it is worse. What is beyond an end is at it."""
        place = 50 + 50 * math.log(badness) / self._end
        return round(min(max(place, 0.0), 100.0), 2)

    def has(self, badness: float) -> bool:
        """Whether a factor is on the axis."""
        return abs(math.log(badness)) < self._end

    def scale(self) -> Html:
        ticks: list[float] = []
        for tick in _TICKS:
            if self.has(tick) and all(abs(self.at(tick) - self.at(other)) >= _LEAST_DISTANCE for other in ticks):
                ticks.append(tick)
        marks = [element("span", "1x", style="left:50%", class_="tick major")]
        for tick in ticks[1:]:
            for badness, side in ((1 / tick, "better"), (tick, "worse")):
                marks.append(
                    element("span", f"{tick:g}x", style=f"left:{self.at(badness)}%", class_="tick minor", title=side)
                )
        sides = (element("span", "better", class_="side"), element("span", "worse", class_="side"))
        return join([element("div", *marks, class_="scale"), element("div", *sides, class_="sides")])


def _row(axis: _Axis, difference: Difference, floor: Floor) -> Html:
    assert difference.change is not None
    least = 1 + _least(difference, floor)
    change, low, high = _badness(difference)
    left, right = axis.at(low), axis.at(high)
    class_ = f"whisker {difference.verdict.tone}"
    class_ += " open-low" * (not axis.has(low)) + " open-high" * (not axis.has(high))
    parts = [
        element(
            "span",
            class_="floor",
            style=f"left:{axis.at(1 / least)}%;width:{round(axis.at(least) - axis.at(1 / least), 2)}%",
        ),
        element("span", class_="zero"),
        element("span", class_=class_, style=f"left:{left}%;width:{round(right - left, 2)}%"),
        element(
            "span",
            class_=f"point {difference.verdict.tone}{' real' * difference.is_real}",
            style=f"left:{axis.at(change)}%",
        ),
    ]
    return element(
        "tr",
        element("th", metric_label(difference.name), scope="row", class_="text"),
        element("td", element("div", *parts, class_="bars"), title=change_in_words(difference)),
        element("td", change_alone(difference), class_="number"),
        element("td", element("span", difference.verdict, class_=f"word {difference.verdict.tone}"), class_="text"),
    )


def _badness(difference: Difference) -> tuple[float, float, float]:
    """The change and the ends of its interval as factors, of which those above 1 are worse."""
    assert difference.change
    assert difference.low
    assert difference.high
    if difference.is_less_better:
        return difference.change, difference.low, difference.high
    return 1 / difference.change, 1 / difference.high, 1 / difference.low


def _least(difference: Difference, floor: Floor) -> float:
    """The share below which a change of this number does not matter."""
    is_time = difference.statistic.startswith("p") and not difference.is_relative
    return max(floor.share, floor.ms / difference.first) if is_time and difference.first else floor.share
