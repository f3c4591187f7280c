"""What tool pauses cost: a sentence and a table for each run, without any script; a chart of the turns stands below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...formatting import duration
from ...recording.pause_cost import Cost, PauseBand, PauseCosts
from ...recording.pauses import Context
from ..pause_words import band_in_words, cost_in_words, is_next_to_nothing, is_real, pauses_in_words, why_unknown
from ..shown_run import ShownRun
from .header import swatch
from .markup import Html, element, join, scrolling

_COLUMNS = (
    ("pause", "how long the tool took"),
    ("turns", "how many followed"),
    ("ttft p50", "from when the turn was due to its first content"),
    ("p99", "of ttft; with at least 300 turns"),
    ("cost at p50", "the median difference to turns of the same size and time that followed at once"),
    ("cost at p99", "the p99 less that of these turns"),
    ("kept", "the server still had nine tenths of the context or more"),
    ("partly", "it had a part of the context"),
    ("recomputed", "it had a tenth of the context at most"),
    ("ttft p50 if kept", "of the turns whose context was kept"),
    ("if recomputed", "ttft p50 of the turns whose context was recomputed"),
)
_SHARES = (Context.KEPT, Context.PARTLY, Context.RECOMPUTED)


def have_pauses(runs: Sequence[ShownRun]) -> bool:
    """Whether there is anything to show."""
    return any(run.summary.pauses is not None for run in runs)


def pause_tables(runs: Sequence[ShownRun]) -> Html:
    """Of each run that has pauses."""
    return join(_of_run(index, run, is_alone=len(runs) == 1) for index, run in enumerate(runs))


def _of_run(index: int, run: ShownRun, *, is_alone: bool) -> Html:
    costs = run.summary.pauses
    if costs is None:
        return Html("")
    heading = "" if is_alone else element("h3", swatch(index), run.name)
    caption = f"Tool pauses of {run.name}"
    head = element("tr", *(element("th", name, scope="col", title=title) for name, title in _COLUMNS))
    table = element(
        "table",
        element("caption", caption, class_="hidden"),
        element("thead", head),
        element("tbody", *(_row(costs, band) for band in costs.bands)),
        class_="pauses",
    )
    words = pauses_in_words(costs)
    return join([heading, element("p", f"{words[0].upper()}{words[1:]}.", class_="answer"), scrolling(table, caption)])


def _row(costs: PauseCosts, band: PauseBand) -> Html:
    name = band_in_words(band)
    cells = [
        element("th", name[0].upper() + name[1:], scope="row", class_="text", title=f"median {band.pause_s:g} s"),
        element("td", f"{band.turns:,}"),
        element("td", duration(band.p50_ms)),
        element("td", "-" if band.p99_ms is None else duration(band.p99_ms)),
        *_costs(costs, band),
        *_contexts(band),
    ]
    return element("tr", *cells)


def _costs(costs: PauseCosts, band: PauseBand) -> Iterator[Html]:
    for cost in (band.p50, band.p99):
        if band is costs.reference:
            yield element("td", "set beside", class_="meaning", title="the others are compared with these turns")
        elif cost is None:
            yield element("td", "?", title=why_unknown(costs, band))
        else:
            yield element("td", _short(cost), title=cost_in_words(cost), class_="bad-number" if is_real(cost) else None)


def _short(cost: Cost) -> str:
    if is_real(cost):
        return f"+{duration(cost.cost_ms)}"
    return "about 0" if is_next_to_nothing(cost) else "unclear"


def _contexts(band: PauseBand) -> Iterator[Html]:
    unknown = band.contexts.get(Context.UNKNOWN, 0)
    for context in _SHARES:
        count = band.contexts.get(context, 0)
        title = f"{count:,} of {band.turns:,} turns" + (f"; of {unknown:,} it is not known" if unknown else "")
        yield element("td", "?" if unknown == band.turns else f"{count / band.turns:.0%}", title=title)
    for context in (Context.KEPT, Context.RECOMPUTED):
        at_ms = band.context_p50_ms.get(context)
        yield element("td", "-" if at_ms is None else duration(at_ms))
