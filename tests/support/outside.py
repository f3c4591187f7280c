"""Text as others may send it: what draws it, and runs in which every name and message is such a text."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from abatch.reports.gates.judge import Judgement, Outcome
from abatch.reports.renderings.shown_run import ShownRun
from abatch.reports.summary.server import ServerSummary
from abatch.workloads.result import Result
from hypothesis import strategies as st

from support.html_pages import made_run
from support.results import make_result

FORGED = "OK: no tail stands out"
"""What others would have a line begin with."""
_FRAGMENTS = (
    *(f"x\n{FORGED}", f"x\r{FORGED}", f"x\u2028{FORGED}"),
    *(
        "\x1b[31m",
        "\x1b]8;;http://x\x07",
        "\x1b[2J",
        "\r",
        "\n",
        "\r\n",
        "\t",
        "\x00",
        "\x07",
        "\x85",
        "\u2028",
        "\u2029",
    ),
    *("\u202e", "\u2066", "\u200b", "\ufeff", "\u3164", "\U000e0041", "\ud800", "\udfff", "\ufffe", "\x9b31m"),
    *("</script>", "<img src=x onerror=y>", "<!--", "-->", "]]>", "&amp;", "'", '"', "<b a='"),
    *(
        "|",
        "`",
        "```",
        "\\",
        "*",
        "_",
        "~~",
        "[a](http://x)",
        "![a](http://x)",
        "[red]",
        "[link=http://x]y[/link]",
        "$",
    ),
    *("@team", "#1", "GH-1", "https://x", "www.x.y", ":tada:", "# x", "- x", "> x"),
    *("::error::x", "##[error]x", "##vso[task.setvariable variable=x]y", "%0A", "%", ",", ";", "{", "}"),
    *("=1+1", "+1", "-1", "@SUM(A1)", "\uff1d1", "../x", "NaN", "漢字", "é", "word ", "all", "x" * 3000),
)
TEXTS = st.lists(st.one_of(st.sampled_from(_FRAGMENTS), st.characters()), min_size=1, max_size=6).map("".join)
"""Names and messages of others."""


def run_of(texts: Iterator[str], name: str) -> ShownRun:
    """A small run with the next of these texts wherever one of others' may be."""
    first, second = next(texts), next(texts)
    results = [_result(number, (first, second)[number % 3 == 0], texts) for number in range(12)]
    labels = {"workload": next(texts), "target": next(texts), "model": next(texts), "warnings": [next(texts)]}
    run = made_run(results, name, **labels, verdict_class=first)
    run.config.options = {next(texts): [next(texts)], "x": next(texts)}
    run.config.provenance = {next(texts): next(texts)}
    run.config.started_at = next(texts)
    run.summary.server = ServerSummary(kind=next(texts), samples=3, running_mean=1.0, running_max=2)
    return replace(run, judgements=tuple(Judgement(next(texts), outcome, next(texts)) for outcome in Outcome))


def _result(number: int, traffic_class: str, texts: Iterator[str]) -> Result:
    has_failed = number % 8 == 7
    return make_result(
        10.0 + number,
        due_s=number / 10,
        session_id=f"{number}{next(texts)}",
        traffic_class=traffic_class,
        tool=next(texts),
        finish_reason=next(texts),
        error=next(texts) if has_failed else None,
        error_message=next(texts) if has_failed else None,
    )


def endless(texts: list[str]) -> Iterator[str]:
    """These texts, again and again."""
    return itertools.cycle(texts)


def strings_of(content: Any) -> Iterator[str]:
    """All texts in what JSON holds, names of fields too."""
    match content:
        case str():
            yield content
        case list():
            for one in content:
                yield from strings_of(one)
        case dict():
            for name, value in content.items():
                yield name
                yield from strings_of(value)
