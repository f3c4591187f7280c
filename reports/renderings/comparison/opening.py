"""A comparison as the beginning of a page: the answer, every difference with its interval, and a picture of them."""

from __future__ import annotations

from collections.abc import Mapping

from ...comparison.comparison import Comparison
from ...comparison.difference import Difference
from ...comparison.findings import comparison_findings, footnotes
from ...comparison.sentence import change_in_words
from ...summary.finding import Label
from ...summary.summary import Summary
from ..html.markup import Html, cut_left, element, join
from ..html.opening import Opening, sortable_table
from ..layout import Labelled
from .console import metric_label, rows, run_rows
from .intervals import interval_plots

_BANNERS = (Label.INTERRUPTED, Label.SIMULATED)
"""Findings that the page has above everything else."""


def comparison_opening(comparison: Comparison, summaries: Mapping[str, Summary]) -> Opening:
    """What a page of these targets begins with. `summaries`: of all of them, by name, the first of them first."""
    first = summaries[comparison.first]
    others = [target.name for target in comparison.targets]
    against = others[0] if len(others) == 1 else f"{len(others)} targets"
    return Opening(
        title=f"{against} against {comparison.first}: {first.workload or 'saved runs'}",
        sections=[
            ("answer", "Answer", _answer(comparison, summaries)),
            ("differences", f"Differences from {comparison.first}", _differences(comparison, summaries)),
            ("intervals", "How sure that is", interval_plots(comparison)),
        ],
    )


def _answer(comparison: Comparison, summaries: Mapping[str, Summary]) -> Html:
    quotes = (element("p", target.quote, class_="quote") for target in comparison.targets if target.quote)
    found = [one for one in comparison_findings(comparison, summaries) if one.label not in _BANNERS]
    rounds = f", {comparison.rounds} rounds in turns" if comparison.rounds > 1 else ""
    about = f"{summaries[comparison.first].model}, class {comparison.traffic_class}{rounds}"
    return element(
        "article",
        *quotes,
        element("p", about, class_="lead"),
        element("ul", *map(_line, found), class_="verdict small"),
        class_="card",
    )


def _line(item: Labelled) -> Html:
    return element("li", element("strong", item.label, class_=f"word {item.tone}"), " ", element("span", item.words))


def _differences(comparison: Comparison, summaries: Mapping[str, Summary]) -> Html:
    header = ["ms", cut_left(comparison.first)]
    for target in comparison.targets:
        header += [cut_left(target.name), "verdict", "change"]
    table: list[list[str]] = []
    for name, (value, others) in rows(comparison):
        cells: list[str] = [metric_label(name), value]
        for other, difference in others:
            cells += [other, *_judged(difference)]
        table.append(cells)
    for name, values in run_rows(summaries):
        table.append([name, values[0], *(cell for value in values[1:] for cell in (value, "", ""))])
    floor = comparison.floor
    lead = (
        f"All intervals together hold at {comparison.confidence:.0%}. A difference below {floor.share:.0%} or "
        f"{floor.ms:g} ms does not matter: where the whole interval is, both are the same. Inconclusive is what may be "
        "nothing and may be more than that."
    )
    notes = [one for one in footnotes(comparison, summaries) if one.label is not Label.KEY]
    return join(
        [
            element("p", lead, class_="lead"),
            sortable_table(f"Differences from {comparison.first}", header, table, "extra differences"),
            element("ul", *map(_line, notes), class_="verdict small"),
        ]
    )


def _judged(difference: Difference | None) -> tuple[Html, Html]:
    """What it means, as a word in a colour, and the change with its interval."""
    if difference is None:
        return element("td", ""), element("td", "-")
    tone = difference.verdict.tone
    return (
        element("td", element("span", difference.verdict, class_=f"word {tone}"), class_="text"),
        element("td", change_in_words(difference), class_=f"change {tone}" if difference.is_real else "change"),
    )
