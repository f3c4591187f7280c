"""What requests spent their time on, as a bar for each class and one for its slowest requests; without any script."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...formatting import factor, interval_in_words, milliseconds, times
from ...recording.slowdown import SLOWED
from ...summary.slowdown import SlowdownSummary, Spent
from ...summary.summary import Summary
from ..shown_run import ShownRun
from ..slowdown_rows import SLOWEST, idle_facts, share_cells, shown_classes
from .header import swatch
from .markup import Html, element, join, scrolling

_PARTS = ("work", "waiting", "interference")
_MEANINGS = {
    "work": "what the requests would take on the idle server",
    "waiting": "what the first token took longer than that",
    "interference": "what the other tokens took longer, beside other requests",
}


def time_shares(runs: Sequence[ShownRun]) -> Html:
    """Of each run: its bars with its slowdowns, and what the idle server took."""
    found = [_of_run(index, run, is_alone=len(runs) == 1) for index, run in enumerate(runs) if run.summary.slowdown]
    if not found:
        return element("p", "The sizes of the requests are not known.", class_="empty")
    lead = (
        "Slowdown is what a request took over what one of its size takes on the idle server: 1x is the price of the "
        "work. The bars are the mean time of a whole request, and that of the slowest 1%."
    )
    return join([element("p", lead, class_="lead"), *found, _key()])


def _of_run(index: int, run: ShownRun, *, is_alone: bool) -> Html:
    summary = run.summary
    head = element(
        "tr",
        *(element("th", name, scope="col") for name in ("class", "where the time goes", "mean ms")),
        *(element("th", f"{metric} {which}", scope="col") for metric in SLOWED for which in ("x", "p99 x")),
    )
    table = element(
        "table",
        element("caption", f"Slowdowns of {run.name}", class_="hidden"),
        element("thead", head),
        element("tbody", *(row for name in shown_classes(summary) for row in _rows(summary, name))),
        class_="shares",
    )
    heading = "" if is_alone else element("h3", swatch(index), run.name)
    scroll = scrolling(table, f"Slowdowns of {run.name}")
    idle = "" if summary.idle is None else element("p", f"Idle probe: {idle_facts(summary.idle)}.", class_="meaning")
    return join([heading, scroll, idle])


def _rows(summary: Summary, name: str) -> Iterator[Html]:
    shares = summary.time_spent.get(name)
    cells = [cell for metric in SLOWED for cell in _slowdown_cells(summary.slowdown.get(metric, {}).get(name))]
    judged = "judged" if name == summary.verdict_class else None
    yield element(
        "tr",
        element("th", name, scope="row", class_="text"),
        *_time(None if shares is None else shares.mean),
        *cells,
        class_=judged,
    )
    if shares is not None:
        blank = [element("td")] * len(cells)
        yield element(
            "tr", element("th", SLOWEST, scope="row", class_="text"), *_time(shares.tail), *blank, class_="tail"
        )


def _time(spent: Spent | None) -> list[Html]:
    """A bar of three parts, and how long it stands for."""
    if spent is None:
        return [element("td"), element("td", "-", class_="number")]
    shown = [f"{cell} {part}" for part, cell in zip(_PARTS, share_cells(spent), strict=True)]
    parts = (
        element("span", class_=f"part {part}", style=f"width:{100 * getattr(spent, part):.2f}%") for part in _PARTS
    )
    words = ", ".join(shown)
    bar = element("div", *parts, class_="stack", role="img", aria_label=words)
    return [element("td", bar, title=words), element("td", milliseconds(spent.mean_ms), class_="number")]


def _slowdown_cells(value: SlowdownSummary | None) -> list[Html]:
    if value is None:
        return [element("td", "-", class_="number")] * 2
    return [
        element(
            "td", times(at), class_="number", title=None if interval is None else interval_in_words(interval, factor)
        )
        for at, interval in ((value.p50, value.p50_interval), (value.p99, value.p99_interval))
    ]


def _key() -> Html:
    items = (
        element("li", element("span", class_=f"mark {part}"), f"{part}: {meaning}")
        for part, meaning in _MEANINGS.items()
    )
    return element("ul", *items, class_="legend-notes")
