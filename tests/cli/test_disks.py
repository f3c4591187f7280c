"""Commands whose disk is full, or whose files are none: one line, and what was measured is shown."""

from __future__ import annotations

from pathlib import Path
from subprocess import CompletedProcess

import pytest
from support.cli import abatch
from support.disks import largest_file
from support.fixed_run import write_fixed_run
from support.special_files import SPECIAL, make_special

_SIMULATED = ("--device", "simulated:h100", "--workload", "chat-short", "--turns", "1", "--idle-probe", "0")
_SHORT = (*_SIMULATED, "--duration", "10", "-r", "4")


def check_one_line(done: CompletedProcess[str], exit_code: int, *words: str) -> None:
    assert done.returncode == exit_code, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("abatch: ")]
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in lines[-1]


def check_nothing_unfinished(folder: Path) -> None:
    assert not list(folder.rglob("*.part"))


def test_a_disk_that_fills_up_in_a_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with largest_file(10_000):
        done = abatch("bench", *_SHORT, "-o", run)
    check_one_line(done, 1, "not all of the run could be saved", "File too large")
    assert "\nttft " in done.stdout
    assert "INTERRUPTED" in done.stdout, "it was ended early"
    check_nothing_unfinished(run)
    again = abatch("report", run)
    assert again.returncode == 0, again.stderr
    assert "INTERRUPTED" in again.stdout
    assert "torn" not in again.stdout


def test_a_disk_that_is_full_before_a_run(tmp_path: Path) -> None:
    with largest_file(700):
        done = abatch("bench", *_SHORT, "-o", tmp_path / "run")
    check_one_line(done, 2, "cannot write to", "File too large")
    assert not (tmp_path / "run").exists()


def test_a_disk_that_fills_up_in_a_comparison(tmp_path: Path) -> None:
    with largest_file(10_000):
        done = abatch("compare", *_SHORT, "--batching", "window,async", "--rounds", "2", "-o", tmp_path / "out")
    check_one_line(done, 1, "not all of the run could be saved", "File too large")
    assert "\nttft " in done.stdout
    check_nothing_unfinished(tmp_path)


def test_a_disk_that_fills_up_in_a_sweep(tmp_path: Path) -> None:
    with largest_file(10_000):
        done = abatch("bench", *_SHORT, "--sweep", "--goodput", "ttft:300", "-o", tmp_path / "out")
    check_one_line(done, 1, "not all of the run could be saved", "File too large")
    assert "\nttft " in done.stdout
    check_nothing_unfinished(tmp_path)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fixed_run(tmp_path_factory.mktemp("saved") / "run", num_sessions=100).folder


def test_a_disk_that_is_full_when_reports_are_written(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("old")
    with largest_file(30_000):
        done = abatch(
            *("report", saved, "--html", tmp_path / "page.html", "--csv", tmp_path / "table.csv"),
            *("--junit", tmp_path / "junit.xml", "--json", tmp_path / "report.json"),
        )
    check_one_line(done, 1, "cannot write --html", "page.html: File too large")
    assert "\nttft " in done.stdout
    assert (tmp_path / "page.html").read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"page.html", "table.csv", "junit.xml"}, "the others are there"
    with largest_file(8_000):
        done = abatch("report", saved, "--timeline", tmp_path / "trace.json")
    check_one_line(done, 1, "trace.json: File too large")
    assert not (tmp_path / "trace.json").exists()


def test_output_that_nobody_can_take_is_one_line(saved: Path, tmp_path: Path) -> None:
    with largest_file(100):
        done = abatch("report", saved)
    check_one_line(done, 1, "cannot write the output: File too large")
    (tmp_path / "summary.md").write_text("x" * 7_800)
    with largest_file(8_000):
        done = abatch("report", saved, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(tmp_path / "summary.md"))
    assert done.returncode == 0, "a measurement does not fail for that"
    assert "the summary of this step could not be written" in done.stdout
    assert (tmp_path / "summary.md").read_text() == "x" * 7_800, "half a table is none"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_file_or_no_folder_is_one_line(kind: str, saved: Path, tmp_path: Path) -> None:
    place = make_special(kind, tmp_path / "place")
    commands = [
        ("bench", "--device", "simulated:h100", "--trace", place),
        ("workload", "show", "--trace", place),
        ("gate", saved, "--rules", place),
    ]
    if kind == "folder":
        (place / "something").touch()
    else:
        commands.append(("report", saved, "--html", place))
    commands += [
        ("bench", *_SHORT, "-o", place),
        ("compare", *_SHORT, "-o", place),
        ("bench", *_SHORT, "--sweep", "--goodput", "ttft:300", "-o", place),
        ("report", place),
        ("gate", saved, "--baseline", place, "--require", "ttft.p99 <= baseline + 10%"),
        ("compare", saved, place),
    ]
    for words in commands:
        done = abatch(*words, cwd=tmp_path)
        check_one_line(done, 2, "place")
