"""A comparison as a part of the HTML report."""

from __future__ import annotations

from collections.abc import Mapping

from ...comparison.comparison import Comparison
from ...comparison.findings import comparison_findings, footnotes, results
from ...comparison.sentence import change_in_words
from ...summary.summary import Summary
from ..html.section import Section
from ..layout import plain_line
from .console import rows, run_rows


def comparison_sections(comparison: Comparison, summaries: Mapping[str, Summary]) -> list[Section]:
    """The verdicts and every difference with its interval; then values of whole runs."""
    texts = [*results(comparison), *comparison_findings(comparison, summaries), *footnotes(comparison, summaries)]
    header = ["ms", comparison.first]
    for target in comparison.targets:
        header += [target.name, f"change from {comparison.first}", ""]
    table = []
    for name, (value, others) in rows(comparison):
        cells = [name, value]
        for other, difference in others:
            cells += [other, *(["-", ""] if difference is None else [change_in_words(difference), difference.verdict])]
        table.append(cells)
    return [
        Section(f"Differences from {comparison.first}", [plain_line(text) for text in texts], header, table),
        Section(
            "Runs",
            [
                *(f"{name}: {summary.target}" for name, summary in summaries.items()),
                *["The charts over time and of sessions are of each target's first round."] * (comparison.rounds > 1),
            ],
            ["", *summaries],
            [[name, *values] for name, values in run_rows(summaries)],
        ),
    ]
