"""The highest rate that meets objectives, on a simulated device."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.cli import abatch

_BENCH = ("bench", "--device", "simulated:h100", "--workload", "chat-short", "--turns", "1", "--duration", "10")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("sweep") / "out"
    arguments = ("--sweep", "--goodput", "ttft:300,tpot:25", "-r", "8", "--max-num-seqs", "32", "-o", folder)
    done = abatch(*_BENCH, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout, folder, json.loads((folder / "sweep.json").read_text())


def test_the_highest_rate_is_between_one_that_holds_and_one_that_does_not(
    swept: tuple[str, Path, dict[str, Any]],
) -> None:
    stdout, _, report = swept
    held = {point["request_rate"] for point in report["points"] if not point["why_not"]}
    failed = {point["request_rate"] for point in report["points"] if point["why_not"]} - held
    assert report["highest_rate"] == max(held) > 8
    assert max(held) < report["failed_rate"] == min(failed) <= 1.05 * max(held)
    assert f"HIGHEST RATE: {report['highest_rate']:g} requests/s hold" in stdout
    assert report["objectives"] == {"ttft": 300.0, "tpot": 25.0}


def test_each_point_is_a_run_that_says_its_goodput(swept: tuple[str, Path, dict[str, Any]]) -> None:
    _, folder, report = swept
    for point in report["points"]:
        run = Path(point["folder"])
        assert run.parent == folder
        summary = json.loads((run / "summary.json").read_text())
        assert summary["goodput"]["share"] == point["goodput_share"]
        assert json.loads((run / "config.json").read_text())["options"]["request_rate"] == point["request_rate"]
    shown = abatch("report", report["points"][0]["folder"]).stdout
    assert "of requests within ttft 300 ms, tpot 25 ms" in shown


def test_no_rate_holds_what_cannot_be(tmp_path: Path) -> None:
    done = abatch(*_BENCH, "--sweep", "--goodput", "ttft:0.001", "-o", tmp_path / "out")
    assert done.returncode == 1
    assert "NO RATE holds" in done.stdout


def test_no_higher_rate_than_asked_for_is_tried(tmp_path: Path) -> None:
    done = abatch(*_BENCH, "--sweep", "--goodput", "ttft:10000", "--max-rate", "3", "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "sweep.json").read_text())
    assert [point["request_rate"] for point in report["points"]] == [1, 2, 3]
    assert (report["highest_rate"], report["limit"]) == (3, "--max-rate")


@pytest.mark.parametrize(
    ("arguments", "mentions"),
    [
        (("--sweep",), "--sweep needs --goodput"),
        (("--sweep", "--goodput", "ttft:1", "-c", "3"), "--concurrency does not apply with --sweep"),
        (("--sweep", "--goodput", "ttft:1", "--require", "errors < 1%"), "--require does not apply with --sweep"),
        (("--percentiles", "50,100"), "--percentiles"),
        (("--percentiles", "1,2,3,4,5,6,7,8,9"), "--percentiles"),
        (("--percentiles", "fifty"), "--percentiles"),
        (("--goodput", "ttft"), "--goodput 'ttft'"),
    ],
)
def test_what_makes_no_sense_is_one_line(arguments: tuple[str, ...], mentions: str, tmp_path: Path) -> None:
    done = abatch(*_BENCH, *arguments, "-o", tmp_path / "out")
    assert done.returncode == 2
    assert mentions in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_percentiles_are_columns_and_kept(tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = abatch(*_BENCH, "--percentiles", "25,p95,99", "-r", "5", "-o", run)
    assert done.returncode == 0, done.stderr
    (heading,) = [line for line in done.stdout.splitlines() if line.startswith("ms ")]
    assert heading.split() == ["ms", "n", "p25", "p95", "p99", "max", "p99/p50", "verdict"]
    ttft = json.loads((run / "summary.json").read_text())["metrics"]["ttft"]["all"]
    assert ttft["percentiles_ms"]["99"] == ttft["p99_ms"]
    assert list(ttft["percentiles_ms"]) == ["25", "95", "99"]
    again = abatch("report", run).stdout.splitlines()
    assert again == [line for line in done.stdout.splitlines() if not line.startswith("saved in ")]
