"""Runs as Markdown, for a comment on a pull request or the summary of a CI job: the verdict at the top."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from ..formatting import milliseconds
from ..gates.judge import Judgement, Outcome
from ..recording.recorder import ALL, TTFA
from ..summary.finding import Finding, Label
from ..summary.findings import findings
from ..summary.metric import MetricSummary
from ..summary.state import State
from ..summary.summary import Summary
from .console import percentile_cell
from .facts import facts, repeat_fact
from .github import code, escaped, escaped_in_html
from .layout import Labelled
from .shown_run import ShownRun
from .slowdown_rows import HEADER, slowdown_rows

MOST_CHARACTERS = 65_000
"""GitHub takes 65,536 in a comment; the rest is for what others put around it."""
_FIRST_METRICS = ("ttft", TTFA, "resume_ttft", "itl", "max_gap", "tpot", "e2e")
_OUTCOMES = {Outcome.FAIL: "failed", Outcome.INCONCLUSIVE: "inconclusive", Outcome.PASS: "passed"}


def render_markdown(runs: Sequence[ShownRun], most_characters: int = MOST_CHARACTERS) -> str:
    """GitHub's Markdown: verdict, rules, percentiles of the verdict's class, rates, and all classes to be unfolded.

    What would make it too long is left out, the classes first, and that is said.
    """
    cores = [_core(run, is_single=len(runs) == 1) for run in runs]
    room = most_characters - sum(len(core) + _ROOM_FOR_NOTE for core in cores)
    parts = []
    for run, core in zip(runs, cores, strict=True):
        parts.append(core)
        left_out, classes = 0, _classes(run.summary)
        for traffic_class in classes:
            rest = _rest(run.summary, traffic_class)
            if len(rest) <= room:
                parts.append(rest)
                room -= len(rest)
            else:
                left_out += 1
        if left_out:
            parts.append(f"_Too long for a comment: {left_out} of {len(classes)} classes are in summary.json only._\n")
        parts.append(f"{_provenance(run)}\n")
    return _cut("\n".join(parts), most_characters)


_ROOM_FOR_NOTE = 1000
"""For each run: the line that says what was left out, and the one of its provenance."""


def _core(run: ShownRun, *, is_single: bool) -> str:
    """What is never folded away."""
    summary = run.summary
    found = findings(summary)
    name = "abatch" if is_single else f"abatch, {escaped(run.name)}"
    parts = [f"## {name}: {_headline(found, run.judgements)}", ""]
    parts += [markdown_line(finding) for finding in found]
    if run.judgements:
        parts += ["", *rules_table(run.judgements)]
    if table := _table(summary, summary.verdict_class, _FIRST_METRICS):
        parts += ["", f"Class {code(summary.verdict_class)}, times in ms:", "", *table]
    if summary.slowdown:
        parts += [
            "",
            "Slowdown (times the idle server's) and what the time was spent on:",
            "",
            *_slowdown_table(summary),
        ]
    measured = [*map(markdown_line, facts(summary)), *_repeat(run)]
    parts += ["", _folded("How it was measured", measured)]
    return "\n".join(parts)


def _repeat(run: ShownRun) -> list[str]:
    """The command is code: it is there to be copied."""
    return [f"- **{escaped(fact.label)}**: {code(fact.words)}" for fact in repeat_fact(run.config.command)]


def _folded(title: str, lines: Iterable[str]) -> str:
    # The empty line ends the block of HTML: without it what follows would be shown as its source.
    return "\n".join([f"<details><summary>{escaped_in_html(title)}</summary>", "", *lines, "", "</details>", ""])


def markdown_line(item: Labelled) -> str:
    """A finding or a fact as an item of a list."""
    return f"- **{escaped(item.label)}**: {escaped(item.words)}"


def _headline(found: Sequence[Finding], judgements: Iterable[Judgement]) -> str:
    """What it comes to: `FLAGGED (SIMULATED), rules: 1 failed, 2 passed`."""
    text: str = next(finding.label for finding in found if finding.label is not Label.SIMULATED)
    if found[0].label is Label.SIMULATED:
        text += f" ({Label.SIMULATED})"
    counts = Counter(judgement.outcome for judgement in judgements)
    if outcomes := [f"{counts[outcome]} {word}" for outcome, word in _OUTCOMES.items() if counts[outcome]]:
        text += f", rules: {', '.join(outcomes)}"
    return text


def rules_table(judgements: Iterable[Judgement]) -> list[str]:
    """The lines of a table of rules, what became of each, and why."""
    lines = ["| rule | outcome | why |", "|---|---|---|"]
    for judgement in judgements:
        outcome = judgement.outcome if judgement.outcome is Outcome.PASS else f"**{judgement.label}**"
        lines.append(f"| {code(judgement.rule)} | {outcome} | {escaped(judgement.reason)} |")
    return lines


def _classes(summary: Summary) -> list[str]:
    """The verdict's class first. Where there is one class only, it is the same as `all`."""
    found = list(dict.fromkeys(name for by_class in summary.metrics.values() for name in by_class))
    if len(found) == 2:
        found = [summary.verdict_class] if summary.verdict_class in found else [ALL]
    return sorted(found, key=lambda name: name != summary.verdict_class)


def _rest(summary: Summary, traffic_class: str) -> str:
    """All metrics of a class, but for those that its table at the top has; nothing if these are all."""
    is_first = traffic_class == summary.verdict_class
    names = [metric for metric in summary.metrics if not (is_first and metric in _FIRST_METRICS)]
    table = _table(summary, traffic_class, names)
    title = f"{'Other' if is_first else 'All'} metrics of class {traffic_class} (ms)"
    return _folded(title, table) if table else ""


def _table(summary: Summary, traffic_class: str, metrics: Iterable[str]) -> list[str]:
    rows = [
        f"| {escaped(metric)} | {' | '.join(_cells(value, summary.percentiles))} |"
        for metric in metrics
        if (value := summary.metrics.get(metric, {}).get(traffic_class)) is not None
    ]
    if not rows:
        return []
    names = ("n", *(f"p{percentile:g}" for percentile in summary.percentiles), "max", "p99/p50")
    return [f"| | {' | '.join(names)} | verdict |", f"|---|{'---:|' * len(names)}---|", *rows]


def _slowdown_table(summary: Summary) -> list[str]:
    rows = [f"| {escaped(name)} | {' | '.join(cells)} |" for name, *cells in slowdown_rows(summary)]
    return [f"| {' | '.join(['', *HEADER[1:]])} |", f"|---|{'---:|' * (len(HEADER) - 1)}", *rows]


def _cells(value: MetricSummary, percentiles: Iterable[float]) -> list[str]:
    verdict = f"**{value.verdict}**" if value.verdict in (State.FLAGGED, State.BORDERLINE) else str(value.verdict)
    if value.verdict is State.NOT_JUDGED:
        verdict = ""
    return [
        str(value.count),
        *(_shown(value, percentile) for percentile in percentiles),
        milliseconds(value.max_ms),
        f"{value.tail_ratio:.2f}",
        verdict,
    ]


def _shown(value: MetricSummary, percentile: float) -> str:
    at_ms = value.percentiles_ms.get(f"{percentile:g}")
    return "-" if at_ms is None else percentile_cell(value, percentile, at_ms)


def _provenance(run: ShownRun) -> str:
    facts = [run.name, f"started {run.config.started_at}" if run.config.started_at else ""]
    facts += [f"{name} {value}" for name, value in run.config.provenance.items()]
    return f"<sub>{escaped(', '.join(fact for fact in facts if fact))}</sub>"


def _cut(text: str, most_characters: int) -> str:
    """Whole lines of what is still too long: very many runs or rules."""
    if len(text) <= most_characters:
        return text
    note = "\n_Cut off here: too long for a comment._\n"
    end = text.rfind("\n", 0, most_characters - len(note))
    kept = text[: end + 1]
    if kept.count("<details>") > kept.count("</details>"):
        kept = kept[: kept.rfind("<details>")]
    return kept + note
