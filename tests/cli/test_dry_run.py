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
