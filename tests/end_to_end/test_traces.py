"""A recorded trace, from the file to the report, on a simulated device."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.cli import abatch

_ROWS = [
    {"timestamp": 1000 * second, "input_length": 1200, "output_length": 3, "hash_ids": [7, 8, 100 + second]}
    for second in range(20)
]


def write(folder: Path, rows: list[dict[str, object]]) -> Path:
    path = folder / "day.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def bench(folder: Path, *arguments: str) -> dict[str, object]:
    result = abatch("bench", "--device", "simulated:h100", "--trace", "day.jsonl", "-o", "run", *arguments, cwd=folder)
    assert result.returncode == 0, result.stderr
    summary = json.loads((folder / "run" / "summary.json").read_text())
    assert isinstance(summary, dict)
    return summary


def test_a_trace_is_replayed_at_its_times_with_its_prefixes(tmp_path: Path) -> None:
    write(tmp_path, _ROWS)
    summary = bench(tmp_path, "--warmup", "0")
    results = [json.loads(line) for line in (tmp_path / "run" / "results.jsonl").read_text().splitlines()]
    assert [result["due_s"] for result in results] == pytest.approx(list(range(20)), abs=1e-3)
    assert [result["prompt_tokens"] for result in results] == [1200] * 20
    assert [result.get("cached_tokens", 0) for result in results] == [0] + [1024] * 19, "two blocks of 512 are shared"
    assert summary["workload"] == "day"
    assert summary["requests"] == 20


def test_a_scale_of_pauses_leaves_the_starts_as_recorded(tmp_path: Path) -> None:
    write(tmp_path, _ROWS[:10])
    bench(tmp_path, "--warmup", "0", "--time-scale", "0.1")
    results = [json.loads(line) for line in (tmp_path / "run" / "results.jsonl").read_text().splitlines()]
    assert [result["due_s"] for result in results] == pytest.approx(list(range(10)), abs=1e-3)


def test_speed_and_pace_are_the_user_s(tmp_path: Path) -> None:
    write(tmp_path, _ROWS)
    assert bench(tmp_path, "--warmup", "0", "--trace-speed", "4")["measured_s"] == pytest.approx(4.75, abs=0.1)
    (tmp_path / "run").rename(tmp_path / "other")
    assert bench(tmp_path, "--warmup", "0", "--concurrency", "20")["measured_s"] < 1.5  # type: ignore[operator]


_BAD_ROW: dict[str, object] = {"timestamp": "noon", "input_length": 5, "output_length": 1, "hash_ids": [1]}


def test_a_bad_row_among_the_first_is_found_before_anything_is_sent_or_is_counted(tmp_path: Path) -> None:
    write(tmp_path, [*_ROWS[:3], _BAD_ROW, _ROWS[4]])
    result = abatch("bench", "--device", "simulated:h100", "--trace", "day.jsonl", "-o", "bad", cwd=tmp_path)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert result.stderr.splitlines()[-1].startswith("abatch: day.jsonl:4: timestamp")
    assert not (tmp_path / "bad").exists()
    summary = bench(tmp_path, "--skip-bad-rows", "--warmup", "0")
    assert summary["requests"] == 4
    assert summary["warnings"] == ["1 malformed rows of day.jsonl were left out"]


def test_a_bad_row_that_would_be_read_while_sending_is_found_before(tmp_path: Path) -> None:
    rows = [row | {"timestamp": 20 * number} for number, row in enumerate(_ROWS * 20)]
    write(tmp_path, [*rows[:300], _BAD_ROW, *rows[300:]])
    result = abatch("bench", "--device", "simulated:h100", "--trace", "day.jsonl", "-o", "bad", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("abatch: day.jsonl:301: timestamp")
    assert not (tmp_path / "bad").exists()


def test_a_bad_row_behind_what_is_read_before_ends_the_run_and_what_was_measured_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trace is read before a run, but not if it is endless."""
    monkeypatch.setattr("abatch.cli.forecast.drawing.MOST_READ", 250)
    rows = [row | {"timestamp": 20 * number} for number, row in enumerate(_ROWS * 20)]
    write(tmp_path, [*rows[:300], _BAD_ROW, *rows[300:]])
    words = "bench", "--device", "simulated:h100", "--trace", "day.jsonl", "-o", "bad", "--warmup", "0"
    result = abatch(*words, cwd=tmp_path)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("abatch: day.jsonl:301: timestamp")]
    assert line.endswith("; the run ended there, and is saved in bad")
    assert result.stdout.startswith("SIMULATED")
    assert "INTERRUPTED: no verdict" in result.stdout, "what was measured until then is shown"
    assert len((tmp_path / "bad" / "results.jsonl").read_text().splitlines()) == 300


_SLOW_ROWS = [row | {"timestamp": 10_000 * place} for place, row in enumerate(_ROWS)]
"""Over 190 seconds."""


@pytest.mark.parametrize("pace", [[], ["-c", "2"], ["-r", "0.2"]], ids=["at its times", "closed loop", "open loop"])
def test_a_trace_is_replayed_whole(tmp_path: Path, pace: list[str]) -> None:
    write(tmp_path, _SLOW_ROWS)
    summary = bench(tmp_path, *pace)
    assert (summary["requests"], summary["warmup_requests"], summary["unsent"]) == (20, 0, None)


def test_what_was_not_sent_is_said_everywhere(tmp_path: Path) -> None:
    write(tmp_path, _SLOW_ROWS)
    words = "bench", "--device", "simulated:h100", "--trace", "day.jsonl", "-d", "60", "-o", "run"
    result = abatch(*words, "--markdown", "r.md", "--html", "r.html", cwd=tmp_path, COLUMNS="200")
    told = "not all of the trace was sent, because --duration 60 ended the run: 14 of 20 sessions and 14 of 20 turns"
    assert f"note: {told} are left\n" in result.stdout
    assert told in (tmp_path / "r.md").read_text()
    assert told in (tmp_path / "r.html").read_text()
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["unsent"] == {
        "ended_by": "--duration 60",
        "sessions": 14,
        "of_sessions": 20,
        "turns": 14,
        "of_turns": 20,
        "is_more": False,
    }
    assert "abatch: day.jsonl: 6 of its 20 sessions with about 6 requests in 60 s" in result.stderr
    assert "abatch: the whole trace, without -d, has 20 requests\n" in result.stderr
    again = abatch("report", "run", cwd=tmp_path, COLUMNS="200")
    assert told in again.stdout
    shown = abatch("workload", "show", "--trace", "day.jsonl", "-d", "60", cwd=tmp_path).stdout
    assert "not sent, as they start later (-d): 14 of 20 sessions,\n  with 14 of 20 turns;" in shown
    whole = abatch("workload", "show", "--trace", "day.jsonl", cwd=tmp_path).stdout
    assert "not sent" not in whole
    assert "20 sessions, 20 requests" in whole


@pytest.mark.parametrize("limit", [["-d", "4"], ["-d", "4", "-c", "2"], ["--num-sessions", "3"]])
def test_turns_that_sessions_had_left_count_too(tmp_path: Path, limit: list[str]) -> None:
    words = "workload export agent-coding --sessions 5 --turns 4 --sub-agents 0.5 -o day.jsonl".split()
    assert abatch(*words, cwd=tmp_path).returncode == 0
    sessions = [json.loads(line) for line in (tmp_path / "day.jsonl").read_text().splitlines()]

    def count(session: dict[str, Any]) -> int:
        return sum(1 + sum(map(count, turn.get("children", []))) for turn in session["turns"])

    summary = bench(tmp_path, *limit, "--time-scale", "0.1")
    unsent = summary["unsent"]
    assert isinstance(unsent, dict)
    num_sent = len((tmp_path / "run" / "results.jsonl").read_text().splitlines())
    assert unsent["of_turns"] == sum(map(count, sessions)) == num_sent + unsent["turns"]
    num_begun = {"-d": 5, "--num-sessions": 3}[limit[0]] if "-c" not in limit else 2
    assert unsent["sessions"] == 5 - num_begun
    assert unsent["turns"] > 0


def test_a_trace_that_is_too_long_to_be_counted_has_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("abatch.reports.traffic.extent.MOST_COUNTED", 10)
    monkeypatch.setattr("abatch.cli.forecast.drawing.MOST_READ", 10)
    write(tmp_path, _SLOW_ROWS)
    words = "bench", "--device", "simulated:h100", "--trace", "day.jsonl", "-o", "run", "-d", "60"
    result = abatch(*words, cwd=tmp_path, COLUMNS="200")
    assert "ended the run: more than 4 of 10 sessions and 4 of 10 turns are left" in result.stdout
    assert (
        "all of day.jsonl: more than 10 sessions with more than 10 requests"
        in abatch(*words[:-3], "other", cwd=tmp_path).stderr
    )
