"""Traces of any length: what is held of them while they are read."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from abatch.workloads.session import Session
from abatch.workloads.traces.trace import open_trace

_FILLER = "x" * 600


def _azure(path: Path) -> int:
    with path.open("w") as file:
        file.write("TIMESTAMP,ContextTokens,GeneratedTokens\n")
        rows = (f"2023-11-16 18:{row // 60 % 60:02}:{row % 60:02}.1234567,300,40\n" for row in range(6_000))
        file.writelines(rows)
    return 6_000


def _sharegpt(path: Path) -> int:
    talk = f'[{{"from": "human", "value": "hello \\" [ {_FILLER}"}}, {{"from": "gpt", "value": "hi"}}]'
    with path.open("w") as file:
        file.write("[")
        file.writelines(f'{"," * bool(row)}{{"id": "{row}", "conversations": {talk}}}' for row in range(4_000))
        file.write("]")
    return 4_000


def _aiperf(path: Path) -> int:
    with path.open("w") as file:
        file.writelines(f'{{"text_input": "{_FILLER}", "output_length": {row + 1}}}\n' for row in range(3_000))
    return 3_000


def _peak_bytes(path: Path, count: Callable[[Session], int]) -> tuple[int, int]:
    trace = open_trace(path)
    tracemalloc.start()
    try:
        total = sum(count(session) for session in trace.sessions())
        return total, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("write", "most_bytes"), [(_azure, 60_000), (_aiperf, 200_000), (_sharegpt, 900_000)])
def test_rows_are_held_one_at_a_time(write: Callable[[Path], int], most_bytes: int, tmp_path: Path) -> None:
    path = tmp_path / "trace"
    num_rows = write(path)
    total, peak = _peak_bytes(path, lambda session: len(session.turns))
    assert total == num_rows
    assert path.stat().st_size > 3 * most_bytes
    assert peak < most_bytes


def test_of_scattered_sessions_only_places_are_held(tmp_path: Path) -> None:
    num_rows, num_sessions = 15_000, 1_500
    path = tmp_path / "trace"
    with path.open("w") as file:
        rows = ((row, f'"session_id": "{row % num_sessions}", "text_input": "{"x" * 400}"') for row in range(num_rows))
        file.writelines(f'{{{text}, "output_length": {row + 1}}}\n' for row, text in rows)
    seen = []

    def check(session: Session) -> int:
        first = session.turns[0].output_tokens - 1
        seen.append(session.session_id)
        expected = list(range(first, num_rows, num_sessions))
        assert [turn.output_tokens - 1 for turn in session.turns] == expected
        return len(session.turns)

    total, peak = _peak_bytes(path, check)
    assert total == num_rows
    assert seen == [str(number) for number in range(num_sessions)]
    assert path.stat().st_size > 6_000_000
    assert peak < 1_200_000


def test_rows_without_sessions_need_no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "trace"
    path.write_text('{"input_length": 5}\n')
    monkeypatch.setattr("abatch.workloads.traces.parsing.session_rows._Index", None)
    assert len(list(open_trace(path).sessions())) == 1
    path.write_text("Timestamp,Model,Request tokens,Response tokens\n5,m,4,4\n")
    assert len(list(open_trace(path).sessions())) == 1
    path.write_text('{"input_length": 5, "session_id": "a"}\n')
    with pytest.raises(TypeError):
        list(open_trace(path).sessions())
