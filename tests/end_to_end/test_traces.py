"""A recorded trace, from the file to the report, on a simulated device."""

from __future__ import annotations

import json
from pathlib import Path

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
    write(tmp_path, _ROWS[:3])
    bench(tmp_path, "--warmup", "0", "--time-scale", "0.1")
    results = [json.loads(line) for line in (tmp_path / "run" / "results.jsonl").read_text().splitlines()]
    assert [result["due_s"] for result in results] == pytest.approx([0, 1, 2], abs=1e-3)


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
