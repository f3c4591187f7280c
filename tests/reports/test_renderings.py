"""A run in every format: as it was when somebody last looked, and the same numbers as in summary.json."""

from __future__ import annotations

import csv
import difflib
import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from abatch.reports.gates.judge import Judgement, Outcome, judge_all
from abatch.reports.gates.parser import parse_rules
from abatch.reports.recording.histograms import new_histogram
from abatch.reports.renderings.console import print_summary
from abatch.reports.renderings.csv_table import COLUMNS, render_csv
from abatch.reports.renderings.github import github_annotations
from abatch.reports.renderings.hgrm import render_hgrm, write_hgrm
from abatch.reports.renderings.json_report import render_json
from abatch.reports.renderings.junit import render_junit
from abatch.reports.renderings.markdown import render_markdown
from abatch.reports.renderings.shown_run import ShownRun
from abatch.reports.run.config import RunConfig
from abatch.reports.run.folder import RunReader
from abatch.reports.run.measurement import Measurement
from abatch.reports.run.writer import RunWriter
from rich.console import Console
from support.fixed_run import write_fixed_run
from support.results import make_result
from support.shown import shown_run

_GOLDEN = Path(__file__).parent / "golden"
HOSTILE = (
    "=cmd|' /C calc'!A0\n| a | `b` <img src=x onerror=y> @team\r\n"
    "\x00\x1b[31m ]]> \ud800 \ufffe &amp; \u202e %0A::error::"
)


def _render_console(runs: Sequence[ShownRun]) -> str:
    out = io.StringIO()
    for run in runs:
        print_summary(Console(width=80, no_color=True, file=out, highlight=False), run.summary, run.judgements)
    return out.getvalue()


def _render_annotations(runs: Sequence[ShownRun]) -> str:
    return "\n".join([*github_annotations(runs), ""])


RENDERERS: dict[str, Callable[[Sequence[ShownRun]], str]] = {
    "console.txt": _render_console,
    "report.md": render_markdown,
    "metrics.csv": render_csv,
    "junit.xml": render_junit,
    "report.json": render_json,
    "ttft.chat.hgrm": lambda runs: render_hgrm(runs[0].histograms["ttft.chat"]),
    "annotations.txt": _render_annotations,
}
ALL_FORMATS = pytest.mark.parametrize("render", RENDERERS.values(), ids=RENDERERS)


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> ShownRun:
    reader = write_fixed_run(tmp_path_factory.mktemp("runs") / "fixed")
    rules = parse_rules(reader.config.options["require"])
    return shown_run(reader, judgements=judge_all(rules, Measurement([reader])))


def written(folder: Path, count: int, *, is_finished: bool = True, traffic_class: str = "chat") -> ShownRun:
    """A small run; with a count of 0 it has no results."""
    writer = RunWriter(folder, RunConfig(workload="mixed", target="http://t", model="m", verdict_class=traffic_class))
    writer.start()
    for number in range(count):
        writer.add(make_result(10.0 + number % 7, due_s=number / 10, traffic_class=traffic_class))
    writer.close()
    if is_finished:
        writer.finish(count / 10, is_complete=True)
    return shown_run(RunReader(folder))


@pytest.mark.parametrize("name", RENDERERS)
def test_each_format_is_as_it_was(name: str, fixed: ShownRun) -> None:
    path = _GOLDEN / name
    now = RENDERERS[name]([fixed])
    if os.environ.get("ABATCH_UPDATE_GOLDEN") == "1":
        path.write_bytes(now.encode())
    before = path.read_bytes().decode() if path.exists() else ""
    difference = difflib.unified_diff(before.splitlines(), now.splitlines(), f"golden/{name}", "now", lineterm="")
    assert before == now, "ABATCH_UPDATE_GOLDEN=1 accepts this:\n" + "\n".join(difference)


@ALL_FORMATS
def test_the_same_run_gives_the_same_text(
    render: Callable[[Sequence[ShownRun]], str], fixed: ShownRun, tmp_path: Path
) -> None:
    reader = write_fixed_run(tmp_path / "fixed")
    assert render([fixed]) == render([shown_run(reader, judgements=fixed.judgements)])


@pytest.mark.parametrize("render", [render for name, render in RENDERERS.items() if not name.endswith("hgrm")])
def test_runs_without_results_interrupted_ones_and_several(
    render: Callable[[Sequence[ShownRun]], str], fixed: ShownRun, tmp_path: Path
) -> None:
    empty = written(tmp_path / "empty", 0)
    broken = written(tmp_path / "broken", 50, is_finished=False)
    for runs in ([], [empty], [broken], [empty, broken, fixed]):
        render(runs)


def test_csv_has_the_numbers_of_the_summary(fixed: ShownRun) -> None:
    rows = list(csv.DictReader(io.StringIO(render_csv([fixed]), newline="")))
    saved = msgspec.json.decode(msgspec.json.encode(fixed.summary))
    assert len(rows) == sum(len(by_class) for by_class in saved["metrics"].values())
    for row in rows:
        expected = saved["metrics"][row["metric"]][row["class"]]
        assert (row["run"], row["verdict"]) == ("fixed", expected["verdict"])
        assert int(row["n"]) == expected["count"]
        for name in ("mean_ms", "p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms", "tail_ratio"):
            assert float(row[name]) == expected[name]
        interval = expected["tail_ratio_interval"]
        assert row["tail_ratio_low"] == ("" if interval is None else repr(interval["low"]))
        assert float(row["offered_rate"]) == saved["offered_rate"]


def test_csv_does_nothing_in_a_spreadsheet_and_has_a_line_for_each_row(fixed: ShownRun) -> None:
    summary = msgspec.structs.replace(fixed.summary, model=HOSTILE, target="\t@SUM(A1)", workload="-1+1")
    text = render_csv([replace(fixed, summary=summary, name="+x")])
    assert text.count("\n") == text.count("\r\n") == 1 + sum(map(len, summary.metrics.values()))
    row = next(csv.DictReader(io.StringIO(text, newline="")))
    assert (row["run"], row["target"], row["workload"]) == ("'+x", "'@SUM(A1)", "'-1+1")
    assert row["model"].startswith("'=cmd|")
    assert row["p50_ms"][0].isdigit()


def test_csv_has_a_row_for_a_run_without_results(tmp_path: Path) -> None:
    (row,) = csv.DictReader(io.StringIO(render_csv([written(tmp_path / "empty", 0)]), newline=""))
    assert tuple(row) == COLUMNS
    assert (row["run"], row["metric"], row["n"], row["requests"]) == ("empty", "", "", "0")


def test_json_of_one_run_is_an_object_and_of_several_an_array(fixed: ShownRun) -> None:
    one = json.loads(render_json([fixed]))
    assert one["summary"] == msgspec.json.decode(msgspec.json.encode(fixed.summary))
    assert [rule["outcome"] for rule in one["rules"]] == [judgement.outcome for judgement in fixed.judgements]
    assert json.loads(render_json([fixed, replace(fixed, name="other")])) == [
        {"name": "fixed", **one},
        {"name": "other", **one},
    ]


def _judged(run: ShownRun) -> ShownRun:
    outcomes = [Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS]
    return replace(run, judgements=tuple(Judgement(f"{HOSTILE} {name}", name, HOSTILE) for name in outcomes))


def test_junit_counts_what_failed_and_what_could_not_be_judged(fixed: ShownRun) -> None:
    root = ElementTree.fromstring(render_junit([fixed, _judged(fixed)]))
    assert [(suite.get("tests"), suite.get("failures"), suite.get("errors")) for suite in root] == [
        ("4", "0", "2"),
        ("4", "1", "1"),
    ]
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("8", "1", "3")
    first = root[0]
    assert first.get("timestamp") == "2026-11-25T12:00:00"
    assert sum(float(case.get("time", "")) for case in first.iter("testcase")) == float(first.get("time", "")) == 55.0
    properties = {found.get("name"): found.get("value") for found in first.iter("property")}
    assert properties.items() >= {"seed": "0", "target": "http://127.0.0.1:8000", "provenance.abatch": "0.1.0"}.items()


def test_junit_does_not_pass_a_run_that_measured_nothing_or_was_interrupted(tmp_path: Path) -> None:
    empty = written(tmp_path / "empty", 0)
    broken = written(tmp_path / "broken", 50, is_finished=False)
    root = ElementTree.fromstring(render_junit([empty, broken]))
    assert [error.get("message", "").partition(";")[0] for error in root.iter("error")] == [
        "no request succeeded",
        "the run was interrupted",
    ]


def test_hgrm_says_the_same_as_the_summary(fixed: ShownRun, tmp_path: Path) -> None:
    paths = write_hgrm(fixed, tmp_path / "hgrm")
    assert len(paths) == len(list((tmp_path / "hgrm").iterdir())) == len(fixed.histograms)
    for path in paths:
        metric, traffic_class, _ = path.name.split(".")
        value = fixed.summary.metrics[metric][traffic_class]
        lines = [line.split() for line in path.read_text().splitlines()[2:] if not line.startswith("#")]
        for share, expected_ms in ((0.5, value.p50_ms), (0.9, value.p90_ms), (0.99, value.p99_ms), (1.0, value.max_ms)):
            below = max(float(line[0]) for line in lines if float(line[1]) <= share)
            above = next(float(line[0]) for line in lines if float(line[1]) >= share)
            # 99% is between two lines. Between two samples, HdrHistogram takes the one above, hdrh the nearer one.
            is_between = share * value.count % 1 != 0
            assert expected_ms <= above * 1.001
            assert is_between or expected_ms >= below * 0.999
            if share * value.count % 1 == 0 and share != 0.99:
                assert above == pytest.approx(expected_ms, rel=1e-3)
        assert int(lines[-1][2]) == value.count
        assert all(len(line) == 4 for line in lines[:-1]), "the plotter takes lines of four numbers"


def test_hgrm_is_what_the_java_tools_write() -> None:
    """Held against HdrHistogram 2.2.2's HistogramLogProcessor; halves go up, as in Java."""
    histogram = new_histogram()
    for value_us in range(1, 11):
        histogram.record_value(value_us)
    lines = render_hgrm(histogram).splitlines()
    assert lines[:3] == [
        "       Value     Percentile TotalCount 1/(1-Percentile)",
        "",
        "       0.001 0.000000000000          1           1.00",
    ]
    assert lines[-6:] == [
        "       0.009 0.900000000000          9          10.00",
        "       0.010 0.912500000000         10          11.43",
        "       0.010 1.000000000000         10",
        "#[Mean    =        0.006, StdDeviation   =        0.003]",
        "#[Max     =        0.010, Total count    =           10]",
        "#[Buckets =           22, SubBuckets     =         2048]",
    ]
    assert "Total count    =            0]" in render_hgrm(new_histogram())


def test_hgrm_files_stay_in_their_folder(fixed: ShownRun, tmp_path: Path) -> None:
    names = ["ttft.../../x", "../up", "/etc/x", "..", "", "ttft.a/b", "ttft.a%2Fb", "ttft.\ud800", "ttft." + "x" * 500]
    names.append(names[-1] + "y")
    histogram = fixed.histograms["ttft.chat"]
    paths = write_hgrm(replace(fixed, histograms=dict.fromkeys(names, histogram)), tmp_path)
    assert len(set(paths)) == len(names)
    assert {path.resolve().parent for path in paths} == {tmp_path.resolve()}
    assert len(list(tmp_path.iterdir())) == len(names)
