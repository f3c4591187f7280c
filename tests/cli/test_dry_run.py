"""--dry-run prints the plan, finds the mistakes that a run would find, and neither sends nor writes anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.cli import abatch

_NOWHERE = "http://user:secret@127.0.0.1:1"  # no one listens there
_BENCH = ("bench", "--url", _NOWHERE, "-w", "chat-short", "--session-rate", "20", "--dry-run")


def test_a_run_is_printed_and_nothing_happens(tmp_path: Path) -> None:
    rules = ("--require", "ttft.p99/p50 <= 3", "--require", "errors < 1%")
    result = abatch(*_BENCH, *rules, "--html", "r.html", "--csv", "-", "--model", "a:1,b:2", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, ""), "a table would go to stdout"
    said = result.stderr
    for line in (
        "target    http://127.0.0.1:1 (a, b)",
        "workload  chat-short: Short chats of a few turns, with Poisson arrivals",
        "          seed 0, cold texts, verdict about all",
        "run       up to 47.2 requests/s (20 sessions/s), about 1,975 requests in 60 s, 1,889 after the warm-up: "
        "enough for p99 (not p99.9) unless requests queue; ends about ",
        "saved in  runs/DATE-TIME-chat-short",
        "rules     ttft.p99/p50 <= 3",
        "          errors < 1%",
        "writes    html: r.html",
        "          csv: stdout",
    ):
        assert line in said
    assert said.endswith("dry run: nothing was sent, nothing was written\n")
    assert "secret" not in said
    assert not [*tmp_path.iterdir()]


def test_our_own_engine_is_named(tmp_path: Path) -> None:
    result = abatch("bench", "--device", "simulated:h100", "--dry-run", "-o", "here", cwd=tmp_path)
    assert result.stdout.startswith("target    abatch: llama-3.1-8b on simulated:h100, async batching, in virtual time")
    assert "saved in  here\n" in result.stdout
    assert (result.returncode, result.stderr, [*tmp_path.iterdir()]) == (0, "", [])


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--require", "ttft.p99 <= 500"], "column 13: expected a time with its unit"),
        (["-d", "1", "--warmup", "2"], "--warmup 2 leaves nothing of --duration 1"),
        (["-o", "full"], "full is not empty; give --output a new folder"),
        (["-o", "full/file"], "cannot write to full/file: Not a directory"),
        (["-o", "full/file/deeper"], "cannot write to full/file/deeper: Not a directory"),
        (["--html", "nowhere/x.html"], "cannot write --html nowhere/x.html"),
        (["--batching", "window"], "--batching does not apply to a server at --url"),
        (["--baseline", "full", "--require", "ttft.p99 <= baseline"], "full is not a run folder"),
    ],
)
def test_mistakes_are_found_as_in_a_run(tmp_path: Path, words: list[str], complaint: str) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    result = abatch(*_BENCH, *words, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert complaint in result.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["full", "file"]


def test_a_comparison_is_printed_with_the_time_of_all_its_rounds(tmp_path: Path) -> None:
    servers = ("--url", f"new={_NOWHERE}", "--url", f"old={_NOWHERE}/v2")
    words = ("compare", *servers, "-w", "chat-short", "--session-rate", "2", "-d", "60", "--rounds", "3", "--dry-run")
    result = abatch(*words, "--require", "ttft.p99 <= baseline + 10%", "--html", "c.html", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    for line in (
        "targets   new: http://127.0.0.1:1 (its first model)\n          old: http://127.0.0.1:1/v2 (its first model)\n",
        "runs      3 rounds of 2 targets, 6 runs: about 6 min, at most 9 min 30 s in all\n",
        "          each run up to 4.72 requests/s (2 sessions/s), about ",
        " after the warm-up: enough for p99 (not p99.9) in all rounds unless requests queue; ends ",
        "saved in  runs/DATE-TIME-compare-chat-short\n",
        "rules     ttft.p99 <= baseline + 10%\n",
        "writes    html: c.html\ndry run: nothing was sent, nothing was written\n",
    ):
        assert line in result.stdout
    assert not [*tmp_path.iterdir()]


def test_a_comparison_of_too_few_requests_says_how_many_rounds_would_do(tmp_path: Path) -> None:
    traffic = ("-w", "chat-short", "--turns", "1", "--arrival", "constant", "-r", "1", "-d", "30", "--warmup", "0")
    words = (
        "compare",
        "--device",
        "simulated:h100",
        "--batching",
        "window,async",
        *traffic,
        "--rounds",
        "2",
        "--dry-run",
    )
    result = abatch(*words, cwd=tmp_path)
    assert "2 rounds of 2 targets, 4 runs: 2 min of virtual time\n" in result.stdout
    assert (
        "about 30 requests in 30 s: too few for p99 (enough for p90) in all rounds; in virtual time\n" in result.stdout
    )
    assert "--rounds 10 would be enough for p99\n" in result.stdout


def test_saved_runs_have_no_plan(tmp_path: Path) -> None:
    result = abatch("compare", "a", "b", "--dry-run", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert "--dry-run does not apply to saved runs" in result.stderr


def test_a_sweep_says_what_it_tries_at_most(tmp_path: Path) -> None:
    words = ("bench", "--url", _NOWHERE, "-w", "chat-short", "--turns", "1", "--sweep", "-r", "2", "--max-rate", "16")
    result = abatch(*words, "--goodput", "ttft:200", "--dry-run", cwd=tmp_path)
    assert (result.returncode, result.stderr, [*tmp_path.iterdir()]) == (0, "", [])
    told = "sweep     at most 8 rates from 2 to 16 requests/s, each for 60 s once or twice: at most 31 min (until "
    assert told in result.stdout
    assert "99.0% of requests within ttft:200\nsaved in  runs/DATE-TIME-sweep-chat-short\n" in result.stdout


@pytest.mark.parametrize("words", [["--goodput", "ttft:200", "-o", "full"], []], ids=["a full folder", "no objectives"])
def test_mistakes_of_a_sweep_are_found_as_in_one(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "config.json").touch()
    result = abatch(*_BENCH, "--sweep", *words, cwd=tmp_path)
    assert (result.returncode, result.stdout, len(result.stderr.splitlines())) == (2, "", 1)
