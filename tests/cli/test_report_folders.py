"""What `abatch report` and `abatch gate` make of folders: of the latest, of several, of those that are no runs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from support.cli import abatch
from support.fixed_run import write_fixed_run

_QUICK = ("--device", "simulated:h100", "-w", "chat-short", "-d", "3", "-r", "4")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With something of each kind in `runs`."""
    path = tmp_path_factory.mktemp("folders")
    runs = path / "runs"
    write_fixed_run(runs / "one", num_sessions=40)
    write_fixed_run(runs / "two", num_sessions=40, seed=1)
    (runs / "empty").mkdir()
    (runs / "file").write_text("")
    (runs / "torn").mkdir()
    (runs / "torn" / "config.json").write_text('{"schema_version": 1, "seed":')
    (runs / "foreign").mkdir()
    (runs / "foreign" / "notes.txt").write_text("")
    shutil.copytree(runs / "one", runs / "outer" / "inner")
    compared = abatch(
        "compare", *_QUICK, "--batching", "window,async", "--rounds", "1", "-o", runs / "compared", cwd=path
    )
    assert compared.returncode == 0, compared.stderr
    swept = ("--sweep", "--goodput", "ttft:5s", "--max-rate", "4", "--turns", "1", "--osl", "2")
    assert abatch("bench", *_QUICK, *swept, "-o", runs / "swept", cwd=path).returncode == 0
    return path


REASONS = {
    "compared": "runs/compared is a comparison: abatch compare runs/compared shows it, and judges --require",
    "compared/async": "runs/compared/async holds rounds of a comparison, each of which is a run, such as "
    "runs/compared/async/round-1",
    "empty": "runs/empty is empty",
    "file": "runs/file is not a run folder: it is a file",
    "foreign": "runs/foreign is not a run folder: there is no config.json in it",
    "gone": "there is no folder runs/gone",
    "outer": "runs/outer is not a run folder: it has some in it, such as runs/outer/inner",
    "swept": "runs/swept is a sweep: abatch report runs/swept shows it, and each folder in it is a run",
    "torn": "runs/torn/config.json is damaged: Input data was truncated",
}


def test_of_several_what_cannot_be_shown_is_left_out_with_its_reason(folder: Path) -> None:
    result = abatch("report", *(f"runs/{name}" for name in ("one", *REASONS, "two")), cwd=folder)
    assert result.returncode == 0, result.stderr
    assert result.stderr.splitlines() == [f"left out: {reason}" for reason in REASONS.values()]
    shown = result.stdout.splitlines()
    assert shown[0] == "one"
    assert "two" in shown


def test_where_none_can_be_shown_that_is_a_mistake(folder: Path) -> None:
    result = abatch("report", "runs/empty", "runs/gone", "--html", "none.html", cwd=folder)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1] == "abatch: none of 2 folders can be shown"
    assert not (folder / "none.html").exists()


@pytest.mark.parametrize("name", REASONS)
def test_a_gate_says_the_same(folder: Path, name: str) -> None:
    result = abatch("gate", f"runs/{name}", "--require", "errors < 1%", cwd=folder)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"abatch: {REASONS[name]}\n"


@pytest.mark.parametrize("name", [name for name in REASONS if name not in ("compared", "swept")])
def test_a_single_folder_that_is_no_run_is_a_line(folder: Path, name: str) -> None:
    result = abatch("report", f"runs/{name}", cwd=folder)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", f"abatch: {REASONS[name]}\n")


def test_a_comparison_is_shown_as_one(folder: Path) -> None:
    result = abatch("report", "runs/compared", "--json", "compared.json", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert result.stdout == abatch("compare", "runs/compared", "--json", "compared.json", cwd=folder).stdout
    assert "async" in result.stdout
    assert (folder / "compared.json").exists()


def test_a_sweep_is_shown_as_one(folder: Path) -> None:
    result = abatch("report", "runs/swept", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "HIGHEST RATE: 4 " in result.stdout
    assert result.stdout.splitlines()[-1].startswith("repeat: abatch bench ")
    assert "--html does not apply with --sweep" in abatch("report", "runs/swept", "--html", "x", cwd=folder).stderr


@pytest.fixture
def newest(folder: Path, tmp_path: Path) -> Path:
    """Where `two` is the newest run, and a comparison newer still."""
    shutil.copytree(folder / "runs", tmp_path / "runs")
    for number, name in enumerate(
        ("swept/sweep.json", "one/config.json", "two/config.json", "compared/comparison.json")
    ):
        os.utime(tmp_path / "runs" / name, (4e9 + number, 4e9 + number))
    return tmp_path


@pytest.mark.parametrize("words", [[], ["latest"]], ids=["unnamed", "by that name"])
def test_the_latest_is_found(newest: Path, words: list[str]) -> None:
    shown = abatch("report", *words, cwd=newest)
    assert shown.stderr.splitlines()[0] == "the latest is runs/compared"
    judged = abatch("gate", *words, "--require", "errors < 99%", cwd=newest)
    assert (judged.returncode, judged.stderr) == (0, "the latest is runs/two\n"), "a gate judges runs"


def test_a_folder_of_that_name_goes_before(newest: Path) -> None:
    shutil.copytree(newest / "runs" / "one", newest / "latest")
    assert abatch("report", "latest", cwd=newest).stderr == ""


@pytest.mark.parametrize("command", ["report", "gate", "rerun"])
def test_where_nothing_is_saved_that_is_a_line(tmp_path: Path, command: str) -> None:
    result = abatch(command, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith("abatch: no folder in runs/ holds a run")
    assert result.stderr.count("\n") == 1
