"""Findings: data made once, which every rendering lays out and none takes apart."""

from __future__ import annotations

import io
from dataclasses import replace
from html import escape
from pathlib import Path

import msgspec
import pytest
from abatch.reports.comparison.difference import Verdict
from abatch.reports.renderings.console import print_summary
from abatch.reports.renderings.github import github_annotations
from abatch.reports.renderings.html.page import render_html
from abatch.reports.renderings.junit import render_junit
from abatch.reports.renderings.layout import STYLES
from abatch.reports.renderings.markdown import render_markdown
from abatch.reports.renderings.shown_run import ShownRun
from abatch.reports.summary.finding import Finding, Label, Tone
from abatch.reports.summary.findings import findings
from abatch.reports.summary.state import STATE_MEANINGS, State
from rich.console import Console
from support.fixed_run import write_fixed_run
from support.shown import shown_run

_MISLEADING = "NOTE: OK: x"
"""A class whose name looks like the beginning of a line."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ShownRun:
    return shown_run(write_fixed_run(tmp_path_factory.mktemp("runs") / "fixed"))


@pytest.fixture(scope="module")
def misleading(run: ShownRun) -> ShownRun:
    """The same run, with its class called something that a reader of text would take for a label."""
    metrics = {
        metric: {_MISLEADING if name == "chat" else name: value for name, value in by_class.items()}
        for metric, by_class in run.summary.metrics.items()
    }
    summary = msgspec.structs.replace(run.summary, metrics=metrics, verdict_class=_MISLEADING, simulated=True)
    return replace(run, summary=summary)


def test_a_tail_carries_its_numbers(run: ShownRun) -> None:
    tail = next(finding for finding in findings(run.summary) if finding.metric == "ttft")
    value = run.summary.metrics["ttft"]["chat"]
    assert (tail.label, tail.tone, tail.traffic_class) == (Label.BORDERLINE, Tone.CAUTION, "chat")
    assert tail.numbers["tail_ratio"] == value.tail_ratio
    assert (tail.numbers["p50_ms"], tail.numbers["p99_ms"]) == (value.p50_ms, value.p99_ms)
    assert tail.numbers["normalised_ratio"] == value.normalised_ratio


def test_causes_stalls_and_advice_say_which_cause(run: ShownRun) -> None:
    explained = [finding for finding in findings(run.summary) if finding.cause is not None]
    assert [finding.label for finding in explained] == [Label.CAUSE, Label.STALL, Label.ADVICE]
    assert {finding.cause for finding in explained} == {"batch-wide stall"}


def test_they_survive_json(run: ShownRun) -> None:
    found = findings(run.summary)
    assert msgspec.json.decode(msgspec.json.encode(found), type=list[Finding]) == found


def test_every_rendering_has_each_finding_with_its_own_label(misleading: ShownRun) -> None:
    out = io.StringIO()
    print_summary(Console(width=1000, no_color=True, file=out, highlight=False), misleading.summary)
    markdown, junit, html = render_markdown([misleading]), render_junit([misleading]), render_html([misleading])
    found = findings(misleading.summary)
    assert sum(_MISLEADING in finding.words for finding in found) >= 3
    for finding in found:
        line = f"{finding.label}: {finding.words}"
        assert line in out.getvalue().splitlines()
        assert escape(line, quote=False) in junit
        assert f"- **{finding.label}**: " in markdown
        if finding.label is not Label.SIMULATED:
            label = f'<strong class="word {finding.tone}">{finding.label}</strong>'
            assert f"{label} <span>{escape(finding.words)}</span>" in html
    titles = [line.partition("::")[2].partition("::")[0] for line in github_annotations([misleading])]
    assert "warning title=abatch%3A FLAGGED" in titles
    assert not any(_MISLEADING in title for title in titles)


def test_every_tone_has_a_style_and_a_class_in_the_page() -> None:
    assert set(STYLES) == set(Tone)
    style = (Path(__file__).parents[2] / "reports/renderings/html/assets/report.css").read_text()
    for state in State:
        assert state.tone is Tone.PLAIN or f".word.{state.tone} " in style


def test_every_state_has_a_meaning() -> None:
    assert set(STATE_MEANINGS) == set(State)


def test_runs_saved_in_older_words_are_read() -> None:
    assert msgspec.json.decode(b'"too few samples"', type=State) is State.TOO_FEW
    assert msgspec.json.decode(b'"unclear"', type=Verdict) is Verdict.INCONCLUSIVE
    assert msgspec.json.decode(b'"too few samples"', type=Verdict) is Verdict.TOO_FEW
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'"fine"', type=State)
