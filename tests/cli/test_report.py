"""`abatch report`: saved runs again, and for others to read."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from abatch.cli.options.rendering import RenderingOptions, check_renderings
from abatch.engine.errors import ConfigurationError
from support.cli import abatch
from support.fixed_run import write_fixed_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    write_fixed_run(folder / "one")
    write_fixed_run(folder / "two" / "one", seed=1, slower=2.0)
    return folder


def report(*arguments: str | Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    variables = {"GITHUB_ACTIONS": "", "GITHUB_STEP_SUMMARY": "", **variables}
    return abatch("report", *arguments, cwd=cwd, **variables)


def test_a_single_run_is_shown_as_it_was(runs: Path) -> None:
    result = report("one", cwd=runs)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("FLAGGED: ")
    assert "PASS         agent.ttft.p50 < 1s" in result.stdout


def test_several_runs_have_names_that_tell_them_apart(runs: Path) -> None:
    result = report("one", "two/one", "--json", "-", cwd=runs)
    assert [run["name"] for run in json.loads(result.stdout)] == ["one", "two/one"]
    shown = result.stderr.splitlines()
    assert shown[0] == "one"
    assert "two/one" in shown


def test_every_rendering_is_written_and_said(runs: Path, tmp_path: Path) -> None:
    names = {"markdown": "r.md", "junit": "r.xml", "csv": "r.csv", "json": "r.json", "hgrm": "hgrm"}
    options = [word for name, file in names.items() for word in (f"--{name}", str(tmp_path / file))]
    result = report("one", *options, cwd=runs)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-5:] == [f"{name} in {tmp_path / file}" for name, file in names.items()]
    assert (tmp_path / "r.md").read_text().startswith("## abatch: FLAGGED")
    assert ElementTree.fromstring((tmp_path / "r.xml").read_text()).get("errors") == "2"
    assert json.loads((tmp_path / "r.json").read_text())["summary"]["seed"] == 0
    assert (tmp_path / "hgrm" / "ttft.chat.hgrm").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names.values()), "nothing half-written is left"


def test_stdout_has_the_rendering_and_nothing_else(runs: Path) -> None:
    result = report("one", "--csv", "-", cwd=runs)
    rows = list(csv.reader(io.StringIO(result.stdout, newline="")))
    assert rows[0][:3] == ["run", "metric", "class"]
    assert {len(row) for row in rows} == {len(rows[0])}
    assert result.stderr.startswith("FLAGGED: ")


def test_of_several_runs_each_has_its_folder_of_distributions(runs: Path, tmp_path: Path) -> None:
    assert report("one", "two/one", "--hgrm", tmp_path / "all", cwd=runs).returncode == 0
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["one", "two%2Fone"]


def test_github_is_told_in_its_own_words(runs: Path, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    result = report("one", cwd=runs, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary))
    assert "\n::error title=abatch%3A rule inconclusive::chat.ttft.p99/p50 <= 3: measured 23.53" in result.stdout
    assert max(map(len, result.stdout.splitlines())) > 200, "a command is one line"
    assert summary.read_text().startswith("\n## abatch: FLAGGED")
    assert "::" not in report("one", cwd=runs).stdout


def test_a_summary_that_cannot_be_written_fails_nothing(runs: Path, tmp_path: Path) -> None:
    result = report("one", cwd=runs, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(tmp_path))
    assert result.returncode == 0
    assert "the summary of this step could not be written" in result.stdout


@pytest.mark.parametrize(
    ("options", "mentions"),
    [
        (["--csv", "-", "--json", "-"], "both go to stdout"),
        (["--csv", "x", "--junit", "./x"], "both go to x"),
        (["--html", "-"], "--html cannot go to stdout: name a file"),
        (["--hgrm", "-"], "name a folder"),
        (["--markdown", "no/such/folder/x.md"], "does not exist or is not writable"),
        (["--markdown", "one"], "is a folder"),
        (["--hgrm", "one/config.json"], "is a file"),
        (["--json", "/dev/null"], "is not a regular file"),
        (["--json", "one/summary.json"], "a part of the run itself"),
        (["--csv", "one/results.2.jsonl"], "a part of the run itself"),
        (["two/one", "--timeline", "t.json"], "--timeline does not apply to several runs"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(runs: Path, options: list[str], mentions: str) -> None:
    before = sorted(runs.rglob("*"))
    result = report("one", *options, cwd=runs)
    assert result.returncode == 2
    assert mentions in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert sorted(runs.rglob("*")) == before


def test_a_file_may_go_into_a_run_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    run = tmp_path / "run"
    check_renderings(RenderingOptions(html=run / "report.html"), run)
    with pytest.raises(ConfigurationError, match="does not exist"):
        check_renderings(RenderingOptions(html=run / "report.html"))
    with pytest.raises(ConfigurationError, match="a part of the run itself"):
        check_renderings(RenderingOptions(json=run / "summary.json"), run)


def test_a_link_is_followed_and_kept(runs: Path, tmp_path: Path) -> None:
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    os.symlink(target, link)
    assert report("one", "--json", link, cwd=runs).returncode == 0
    assert link.is_symlink()
    assert json.loads(target.read_text())["rules"]
