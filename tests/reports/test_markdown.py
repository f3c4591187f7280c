"""What GitHub is given to show: complete at the top, harmless throughout, and never too long."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from abatch.reports.gates.judge import Judgement, Outcome
from abatch.reports.renderings.github import (
    MOST_OF_A_KIND,
    MOST_SUMMARY_BYTES,
    code,
    escaped,
    escaped_in_html,
    github_annotations,
    is_github,
    write_step_summary,
)
from abatch.reports.renderings.markdown import render_markdown
from abatch.reports.renderings.shown_run import ShownRun
from abatch.reports.run.command import Command
from support.fixed_run import write_fixed_run
from support.shown import shown_run


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> ShownRun:
    return shown_run(write_fixed_run(tmp_path_factory.mktemp("runs") / "fixed"))


def _judged(run: ShownRun, *outcomes: Outcome, text: str = "errors < 1%") -> ShownRun:
    return replace(run, judgements=tuple(Judgement(text, outcome, text) for outcome in outcomes))


def test_the_verdict_the_metric_the_cause_and_the_advice_come_first(fixed: ShownRun) -> None:
    lines = render_markdown([_judged(fixed, Outcome.FAIL)]).splitlines()
    assert lines[0] == "## abatch: FLAGGED, rules: 1 failed"
    labels = [line.split("**")[1] for line in lines[1:12] if line.startswith("- **")]
    assert labels[0] == "FLAGGED"
    assert labels[-3:] == ["CAUSE", "STALL", "ADVICE"]
    assert "ttft p99 is 23.5x its median in class chat" in lines[4]


@pytest.mark.parametrize(
    ("labels", "heading"),
    [
        ({"is_complete": False}, "INTERRUPTED"),
        ({"simulated": True, "is_complete": False}, "INTERRUPTED (SIMULATED)"),
        ({"late_arrivals": 400}, "NOT TRUSTED"),
        ({"succeeded": 0, "metrics": {}}, "NO VERDICT"),
    ],
)
def test_the_heading_has_what_must_not_be_overlooked(fixed: ShownRun, labels: dict[str, object], heading: str) -> None:
    run = replace(fixed, summary=msgspec.structs.replace(fixed.summary, **labels))
    assert render_markdown([run]).splitlines()[0] == f"## abatch: {heading}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a | b", r"a \| b"),
        (r"a \| b", r"a \\\| b"),
        ("<b>&amp;", "&lt;b>&amp;amp;"),
        ("`x` *y* [z](w)", r"\`x\` \*y\* \[z\](w)"),
        ("two\r\nlines\tand\vmore", "two lines and more"),
        ("@team #12 GH-3", "@&#8203;team #&#8203;12 GH-&#8203;3"),
        ("https://x www.y.z :tada:", "`https://x` www&#8203;.y.z :&#8203;tada:"),
        ("on http://h:8000/v1, http://", "on `http://h:8000/v1`, http:&#8203;//"),
        ("at 12:00:00+00:00", "at 12:00:00+00:00"),
        ("resume_ttft _x_", r"resume_ttft \_x\_"),
        ("$x$", "<span>$</span>x<span>$</span>"),
        ("\x00\u202e", "\ufffd\ufffd"),
        ("x" * 2000, "x" * 666 + "..." + "x" * 331),
    ],
)
def test_what_came_from_outside_is_shown_and_does_nothing(text: str, shown: str) -> None:
    assert escaped(text) == shown


def test_where_markdown_is_not_parsed_nothing_is_escaped_by_its_rules() -> None:
    assert escaped_in_html("a_b*<i> @x http://h") == "a_b*&lt;i&gt; @&#8203;x http:&#8203;//h"


def test_no_table_is_there_twice_and_what_repeats_a_run_can_be_copied(fixed: ShownRun) -> None:
    command = Command(words=("bench", "--url", "http://h:8000", "--class", "a_b"))
    run = replace(fixed, config=msgspec.structs.replace(fixed.config, command=command))
    lines = render_markdown([run]).splitlines()
    assert "- **repeat**: `abatch bench --url http://h:8000 --class a_b`" in lines
    of_chat = [f"| {name} | {by['chat'].count} |" for name, by in fixed.summary.metrics.items() if "chat" in by]
    assert [sum(line.startswith(row) for line in lines) for row in of_chat] == [1] * len(of_chat)


def test_code_is_code_only_where_that_is_safe() -> None:
    assert code("ttft.p99 < 1s") == "`ttft.p99 < 1s`"
    assert code("a`b") == r"a\`b"
    assert code("a|b") == r"a\|b"
    assert code("") == ""


def test_hostile_names_open_nothing(fixed: ShownRun) -> None:
    hostile = "x|y`z\n## <img src=x onerror=alert(1)> @team [l](http://e) </details>"
    metrics = {metric: {**by_class, hostile: by_class["all"]} for metric, by_class in fixed.summary.metrics.items()}
    summary = msgspec.structs.replace(
        fixed.summary,
        metrics=metrics,
        slowdown={metric: {**by, hostile: by["all"]} for metric, by in fixed.summary.slowdown.items()},
        time_spent={**fixed.summary.time_spent, hostile: fixed.summary.time_spent["all"]},
        verdict_class=hostile,
        target=hostile,
        model=hostile,
        workload=hostile,
        errors={hostile: 3},
        error_examples={hostile: hostile},
        warnings=[hostile],
    )
    config = msgspec.structs.replace(fixed.config, provenance={"cpu": hostile})
    run = _judged(replace(fixed, name=hostile, summary=summary, config=config), Outcome.FAIL, text=hostile)
    text = render_markdown([run, run])
    assert set(re.findall(r"<(/?\w+)", text)) == {"details", "/details", "summary", "/summary", "sub", "/sub"}
    assert not re.search(r"@\w", text)
    assert "http://" not in re.sub(r"(?<!\\)`[^`\n]*`", "", text)
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        line for line in text.splitlines() if line.startswith("## abatch, ")
    ]
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in tables} == {4, 10, 11}


def test_several_runs_have_their_names(fixed: ShownRun) -> None:
    text = render_markdown([fixed, replace(fixed, name="other")])
    assert re.findall(r"^## abatch, (.*): ", text, re.MULTILINE) == ["fixed", "other"]


def test_classes_are_left_out_first_and_that_is_said(fixed: ShownRun) -> None:
    whole = render_markdown([fixed])
    assert "Too long" not in whole
    cut = render_markdown([fixed], len(whole) - 500)
    assert len(cut) <= len(whole) - 500
    assert whole.splitlines()[:30] == cut.splitlines()[:30]
    assert "Too long for a comment: 2 of 3 classes are in summary.json only" in cut
    assert cut.count("<details>") == cut.count("</details>") == whole.count("<details>") - 2


def test_it_is_never_too_long(fixed: ShownRun) -> None:
    names = [f"class-{number}" for number in range(400)]
    metrics = {
        metric: {**by_class, **dict.fromkeys(names, by_class["all"])}
        for metric, by_class in fixed.summary.metrics.items()
    }
    run = replace(fixed, summary=msgspec.structs.replace(fixed.summary, metrics=metrics))
    text = render_markdown([run])
    assert 50_000 < len(text) < 65_536
    assert "of 403 classes are in summary.json only" in text
    rules = render_markdown([_judged(run, *[Outcome.FAIL] * 3000)])
    assert len(rules) < 65_536
    assert "Cut off here" in rules
    for most in range(2000, 12_000, 300):
        cut = render_markdown([fixed, fixed], most)
        assert len(cut) <= most
        assert cut.count("<details>") == cut.count("</details>")


def test_annotations_say_what_changes_the_exit_code_as_errors(fixed: ShownRun) -> None:
    run = _judged(fixed, Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS)
    lines = github_annotations([run])
    kinds = [re.match(r"::(\w+) title=([^:]*)::", line) for line in lines]
    assert [(kind[1], kind[2]) for kind in kinds if kind] == [
        ("error", "abatch%3A rule failed"),
        ("error", "abatch%3A rule inconclusive"),
        ("warning", "abatch%3A FLAGGED"),
        ("warning", "abatch%3A ERRORS"),
    ]
    assert lines[0].endswith("::errors < 1%25: errors < 1%25")
    assert "%0ACAUSE: batch-wide stall" in lines[2]
    assert "%0AADVICE: " in lines[2]
    assert "CAUSE" not in lines[3]


def test_a_client_that_is_not_trusted_is_a_warning(fixed: ShownRun) -> None:
    run = replace(fixed, summary=msgspec.structs.replace(fixed.summary, late_arrivals=400))
    assert [line[:40] for line in github_annotations([run]) if line.startswith("::warning")] == [
        "::warning title=abatch%3A NOT TRUSTED::7",
        "::warning title=abatch%3A ERRORS::1.0%25",
    ]


def test_annotations_cannot_be_broken_out_of(fixed: ShownRun) -> None:
    text = "50%\r\n::set-output name=x::y, z: w"
    run = replace(_judged(fixed, Outcome.FAIL, text=text), name=text)
    (line, *_) = github_annotations([run, run])
    assert line == (
        "::error title=abatch%2C 50%25 %3A%3Aset-output name=x%3A%3Ay%2C z%3A w%3A rule failed::"
        "50%25 ::set-output name=x::y, z: w: 50%25 ::set-output name=x::y, z: w"
    )
    assert all("\n" not in line and "\r" not in line for line in github_annotations([run, run]))


def test_no_more_annotations_than_github_shows(fixed: ShownRun) -> None:
    errors = [line for line in github_annotations([_judged(fixed, *[Outcome.FAIL] * 25)]) if line.startswith("::error")]
    assert len(errors) == MOST_OF_A_KIND
    assert "::16 more" in errors[-1]
    ten = github_annotations([_judged(fixed, *[Outcome.FAIL] * 10)])
    assert not any("more" in line.partition("::abatch")[0] for line in ten if line.startswith("::error"))


def test_the_step_summary_is_added_to_and_never_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    environment = {"GITHUB_STEP_SUMMARY": str(path)}
    assert write_step_summary(environment, "## one")
    assert write_step_summary(environment, "## two")
    assert path.read_text() == "\n## one\n\n## two\n"
    assert not write_step_summary(environment, "x" * MOST_SUMMARY_BYTES), "GitHub would drop all of it"
    assert path.read_text() == "\n## one\n\n## two\n"
    assert not write_step_summary({}, "x")
    assert not write_step_summary({"GITHUB_STEP_SUMMARY": str(tmp_path)}, "x")
    assert not write_step_summary({"GITHUB_STEP_SUMMARY": "a\0b"}, "x")


def test_only_github_is_github() -> None:
    assert is_github({"GITHUB_ACTIONS": "true"})
    assert not is_github({"GITHUB_ACTIONS": "false"})
    assert not is_github({})
