"""The report as one file: text and tables that need no script, then the charts and the script that draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import resources

from .... import __version__
from ...text import clean
from ..shown_run import ShownRun
from . import assets
from .header import banners, fact_lists, report_title, run_cards
from .markup import Html, element, embedded_json, inline, join
from .metric_table import metric_tables
from .opening import Opening
from .pauses import have_pauses, pause_tables
from .ratio_bars import ratio_bars
from .report_data import report_data
from .time_shares import time_shares

DATA_ID = "report-data"
"""The element that holds the charts' data: a `ReportData` as JSON."""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"

SCRIPT = (
    "elements",
    "numbers",
    "selection",
    "controls",
    "plot",
    "curves",
    "run_time",
    "load",
    "latency",
    "errors",
    "over_time",
    "pauses",
    "parking_marks",
    "sessions",
    "tables",
    "page",
)
"""The files of the page's script, in order: each uses only itself and those before it."""

_NOTHING = Html("")
_CHARTS = {
    "curves": (
        "Percentiles",
        "The axis counts nines, so the tail gets as much room as the rest. Every latency is measured from when the "
        "request was due.",
    ),
    "over-time": (
        "Over time",
        "Each point is one time bin. Drag to zoom in, double-click to reset; all charts of a run zoom together.",
    ),
    "pauses": (
        "Tool pauses",
        "Each point is a turn: how long its tool took, and how long the user then waited for the first token. Bars are "
        "the median and the p99 of the pauses below them.",
    ),
    "sessions": (
        "Sessions",
        "Each row is a session, picked by a hash of its name; each bar is one of its turns. Drag to zoom in, "
        "double-click to reset.",
    ),
}


def render_html(runs: Sequence[ShownRun], opening: Opening | None = None) -> str:
    """One or several runs as a page that loads nothing from the network.

    Reads the results of each run once and keeps only binned values and a bounded sample of sessions.

    Args:
        runs: At least one. Names that clash get a number.
        opening: What stands above the verdicts on the single runs, with the percentiles of all of them.

    Raises:
        ConfigurationError: a run's files are damaged.
        ValueError: there is no run.
    """
    if not runs:
        raise ValueError("a report needs at least one run")
    runs = _with_own_names(runs)
    title = report_title(runs) if opening is None else opening.title
    cards, curves = ("verdict", "Verdict" if opening is None else "Each by itself", run_cards(runs)), _chart("curves")
    sections = [
        *((cards, curves) if opening is None else (*opening.sections, curves, cards)),
        ("tail-ratios", "Tail ratios", ratio_bars(runs)),
        ("slowdown", "Slowdown", time_shares(runs)),
        _chart("over-time"),
        *([_chart("pauses", pause_tables(runs))] if have_pauses(runs) else []),
        _chart("sessions"),
        ("metrics", "All metrics", metric_tables(runs)),
        ("facts", "Facts", fact_lists(runs)),
    ]
    return join(
        [Html("<!doctype html>\n"), element("html", _head(title), _body(title, runs, sections), lang="en"), Html("\n")]
    )


def _with_own_names(runs: Sequence[ShownRun]) -> list[ShownRun]:
    """Make the names unique, as they are shown."""
    taken: set[str] = set()
    named = []
    for run in runs:
        name = base = clean(run.name) or "run"
        number = 1
        while name in taken:
            number += 1
            name = f"{base} ({number})"
        taken.add(name)
        named.append(replace(run, name=name))
    return named


def _head(title: str) -> Html:
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="generator", content=f"abatch {__version__}"),
        element("link", rel="icon", href="data:,"),
        element("title", f"{title} - abatch"),
        inline("style", _asset("uPlot.min.css")),
        inline("style", _asset("report.css")),
    )


def _body(title: str, runs: Sequence[ShownRun], sections: Sequence[tuple[str, str, Html]]) -> Html:
    links = (element("a", name, href=f"#{identifier}") for identifier, name, _ in sections)
    library = f"/*\nuPlot 1.6.32\n{_asset('uPlot.LICENSE')}*/\n{_asset('uPlot.iife.min.js')}"
    return element(
        "body",
        element(
            "header",
            element("div", element("p", "abatch report", class_="kicker"), element("h1", title)),
            element("div", id="tools"),
            class_="top",
        ),
        banners(runs),
        element("nav", *links, aria_label="Sections"),
        element("main", *(_section(*section) for section in sections)),
        element("footer", element("p", f"abatch {__version__}. Charts: uPlot 1.6.32 (MIT).")),
        embedded_json(DATA_ID, report_data(runs)),
        inline("script", library),
        inline("script", _script()),
    )


def _section(identifier: str, title: str, content: Html) -> Html:
    heading = element("h2", title, id=f"{identifier}-title")
    return element("section", heading, content, id=identifier, aria_labelledby=f"{identifier}-title")


def _chart(identifier: str, before: Html = _NOTHING) -> tuple[str, str, Html]:
    title, text = _CHARTS[identifier]
    missing = element("noscript", element("p", "This chart needs JavaScript; its figures are in the tables below."))
    return (
        identifier,
        title,
        join(
            [
                before,
                element("p", text, class_="lead"),
                element("div", missing, id=f"{identifier}-chart", class_="chart"),
            ]
        ),
    )


def _script() -> str:
    """All files of the script in one closure, which exposes only `window.abatchReport`."""
    files = (_asset(f"script/{name}.js") for name in SCRIPT)
    return '"use strict";\n(() => {\n' + "\n".join(files) + "})();"


def _asset(name: str) -> str:
    return resources.files(assets).joinpath(name).read_text(encoding="utf-8")
