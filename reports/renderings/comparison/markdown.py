"""A comparison as Markdown, for a pull request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...comparison.comparison import Comparison
from ...comparison.difference import Difference
from ...comparison.findings import comparison_findings, footnotes, results
from ...comparison.sentence import change_in_words
from ...gates.judge import Judgement
from ...summary.summary import Summary
from ..github import code, escaped
from ..markdown import markdown_line, rules_table
from .console import metric_label, rows, run_rows


def render_comparison_markdown(
    comparison: Comparison, summaries: Mapping[str, Summary], judgements: Mapping[str, Sequence[Judgement]]
) -> str:
    """The verdicts, the rules, and every difference with its interval. `judgements`: by target."""
    first = summaries[comparison.first]
    lines = [f"## abatch compare: {escaped(first.workload)}", ""]
    findings = [*results(comparison), *comparison_findings(comparison, summaries)]
    lines += [markdown_line(finding) for finding in findings]
    for name, of_target in judgements.items():
        if of_target:
            lines += ["", f"Rules for {escaped(name)}:", "", *rules_table(of_target)]
    lines += [
        "",
        *(f"- {escaped(name)}: {code(summary.target)}" for name, summary in summaries.items() if summary.target),
    ]
    head = ["", escaped(comparison.first)]
    for target in comparison.targets:
        head += [escaped(target.name), "change (interval)"]
    lines += ["", _row(head), _row(["---", *["---:"] * (len(head) - 1)])]
    for name, (value, others) in rows(comparison):
        cells = [metric_label(name), value]
        for other, difference in others:
            cells += [other, _change(difference)]
        lines.append(_row(cells))
    for name, values in run_rows(summaries):
        lines.append(_row([name, values[0], *(cell for value in values[1:] for cell in (value, ""))]))
    lines += ["", f"Class {escaped(comparison.traffic_class)}; times in milliseconds.", ""]
    lines += [markdown_line(footnote) for footnote in footnotes(comparison, summaries)]
    return "\n".join([*lines, ""])


def _change(difference: Difference | None) -> str:
    """`**worse** +40% (+16% to +69%)`, and without the stars where nothing is known to differ."""
    if difference is None:
        return "-"
    if difference.change is None:
        return difference.verdict
    verdict = f"**{difference.verdict}**" if difference.is_real else difference.verdict
    return f"{verdict} {change_in_words(difference)}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
