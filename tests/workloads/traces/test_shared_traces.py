"""Cuts of real traces, where they lie beside the checkout: totals against arithmetic on the raw files."""

from __future__ import annotations

import csv
import itertools
import json
import math
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from abatch.workloads.session import BlockPrompt, Pause, Session
from abatch.workloads.traces.trace import open_trace

_FOLDER = Path(__file__).parents[4] / "shared" / "traces"
pytestmark = pytest.mark.skipif(not _FOLDER.is_dir(), reason="the traces are not here")


def _read(name: str, trace_format: str) -> list[Session]:
    trace = open_trace(_FOLDER / name)
    assert trace.format == trace_format
    found = list(trace.sessions())
    assert (trace.num_skipped, trace.num_dropped) == (0, 0)
    assert len({session.session_id for session in found}) == len(found)
    assert trace.has_timestamps is (found[0].start_s is not None)
    return found


def _rows(name: str) -> list[dict[str, Any]]:
    path = _FOLDER / name
    if path.suffix == ".csv":
        with path.open() as file:
            return list(csv.DictReader(file))
    return [json.loads(line) for line in path.read_text().splitlines()]


def _blocks(session: Session) -> list[BlockPrompt]:
    prompts = [turn.prompt for turn in session.turns]
    assert all(isinstance(prompt, BlockPrompt) for prompt in prompts)
    return [prompt for prompt in prompts if isinstance(prompt, BlockPrompt)]


def _all_ids(session: Session) -> list[tuple[int, ...]]:
    """The ids of each prompt in full, put together as a replay does it."""
    full: list[tuple[int, ...]] = []
    for prompt in _blocks(session):
        full.append((full[-1] if full else ())[: prompt.kept] + prompt.ids)
    return full


def test_every_trace_is_tried_here() -> None:
    tried = Path(__file__).read_text()
    assert all(path.name in tried for path in _FOLDER.iterdir() if path.name != "README.md")


def test_mooncake() -> None:
    name = "mooncake_conversation_200.jsonl"
    found, rows = _read(name, "mooncake"), _rows(name)
    assert len(found) == 200
    for session, row in zip(found, rows, strict=True):
        (turn,) = session.turns
        assert (turn.new_tokens, turn.output_tokens) == (row["input_length"], row["output_length"])
        assert session.start_s == pytest.approx((row["timestamp"] - rows[0]["timestamp"]) / 1000)
        assert _all_ids(session) == [tuple(row["hash_ids"])]


def test_azure() -> None:
    name = "azure2023_conv_500.csv"
    found, rows = _read(name, "azure"), _rows(name)
    assert len(found) == 500
    assert sum(session.turns[0].new_tokens for session in found) == sum(int(row["ContextTokens"]) for row in rows)
    assert sum(session.turns[0].output_tokens for session in found) == sum(int(row["GeneratedTokens"]) for row in rows)
    first, last = (datetime.strptime(rows[place]["TIMESTAMP"][:-1], "%Y-%m-%d %H:%M:%S.%f") for place in (0, -1))
    assert found[-1].start_s == pytest.approx((last - first).total_seconds())


def test_lengths() -> None:
    name = "sharegpt_8k_lengths_2000.csv"
    found, rows = _read(name, "lengths"), _rows(name)
    assert len(found) == 2000
    tokens = sum(session.turns[0].new_tokens + session.turns[0].output_tokens for session in found)
    assert tokens == sum(int(row["num_total_tokens"]) for row in rows)


def test_weka() -> None:
    name = "weka_claude_code_5.jsonl"
    found, rows = _read(name, "weka"), _rows(name)
    assert len(found) == 5
    for session, row in zip(found, rows, strict=True):
        requests, prompts = row["requests"], _blocks(session)
        assert sum(turn.output_tokens for turn in session.turns) == row["totals"]["parent_tokens"]["output"]
        assert sum(prompt.tokens for prompt in prompts) == row["totals"]["parent_tokens"]["input"]
        for ids, prompt, request in zip(_all_ids(session), prompts, requests, strict=True):
            assert list(ids[: len(request["hash_ids"])]) == request["hash_ids"]
            assert len(ids) == math.ceil(request["in"] / 64)
            assert prompt.scope == row["id"]
        for before, after, turn in zip(requests, requests[1:], session.turns[1:], strict=False):
            same = len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], _pairs(before, after))))
            assert turn.new_tokens == after["in"] - 64 * same
            assert turn.pause is (Pause.TOOL if after["input_types"] == ["tool_result"] else Pause.HUMAN)
            if "api_time" in before:
                end = before["t"] + before["api_time"]
                assert turn.pause_s == pytest.approx(max(0, after["t"] - end), abs=1.5)
                assert turn.gap_s == 0
            else:
                assert turn.gap_s == pytest.approx(after["t"] - before["t"]) or 0 < turn.pause_s < after["t"]


def _pairs(before: dict[str, Any], after: dict[str, Any]) -> zip[tuple[int, int]]:
    return zip(before["hash_ids"], after["hash_ids"], strict=False)


def test_weka_requests() -> None:
    name = "weka_cc_requests_20k.csv"
    found, rows = _read(name, "weka_requests"), _rows(name)
    assert len(found) == 358
    by_trace = {key: list(group) for key, group in itertools.groupby(rows, lambda row: row["trace"])}
    for session in found:
        recorded = by_trace[session.session_id]
        prompts = _blocks(session)
        assert [prompt.tokens for prompt in prompts] == [int(row["in"]) for row in recorded]
        assert [64 * prompt.kept for prompt in prompts] == [int(row["prefix_hit"]) for row in recorded]
        assert [turn.output_tokens for turn in session.turns] == [max(1, int(row["out"])) for row in recorded]
        assert all(
            (turn.pause is Pause.TOOL) == (row["input0"] == "r")
            for turn, row in zip(session.turns[1:], recorded[1:], strict=True)
        )
        for full, prompt in zip(_all_ids(session), prompts, strict=True):
            assert len(full) == math.ceil(prompt.tokens / 64)
            assert len(set(full)) == len(full)


def test_tracelab() -> None:
    name = "tracelab_sample_rounds.jsonl"
    found, rows = _read(name, "tracelab"), _rows(name)
    assert len(found) == 2
    for session in found:
        rounds = [row for row in rows if row["session_id"] == session.session_id]
        assert session.prefix is not None
        tokens = session.prefix.tokens
        for turn, row in zip(session.turns, rounds, strict=True):
            tokens += turn.new_tokens
            assert not turn.compacts
            # As long as recorded, or a little longer where hidden reasoning is gone.
            assert row["input_tokens_total"] <= tokens <= 1.05 * row["input_tokens_total"]
            tokens += turn.output_tokens
        for turn, before, row in zip(session.turns[1:], rounds, rounds[1:], strict=False):
            assert (turn.pause is Pause.TOOL) == (row["first_input_event_type"] == "tool_result")
            if turn.pause is Pause.TOOL:
                slowest = max(before["tools"], key=lambda tool: str(tool["result_at"]))
                assert (turn.tool, turn.num_tools) == (slowest["tool_name"], len(before["tools"]))
                assert turn.pause_s == pytest.approx(slowest["tool_wall_latency_ms"] / 1000, abs=0.1)


def test_tau() -> None:
    name = "tau_gpt4o_airline_20.jsonl"
    found, rows = _read(name, "tau"), _rows(name)
    assert len(found) == 20
    for session, row in zip(found, rows, strict=True):
        answers = [message for message in row["traj"] if message["role"] == "assistant"]
        assert len(session.turns) == len(answers)
        assert sum(turn.pause is Pause.TOOL for turn in session.turns) <= sum(
            message["role"] == "tool" for message in row["traj"]
        )
        assert (session.turns[0].text or "").startswith(row["traj"][0]["content"])


def test_bfcl() -> None:
    name = "bfcl_v4_multi_turn_10.jsonl"
    found, rows = _read(name, "bfcl"), _rows(name)
    assert [len(session.turns) for session in found] == [len(row["question"]) for row in rows]
    assert [session.session_id for session in found] == [row["id"] for row in rows]
    assert found[0].turns[0].text == rows[0]["question"][0][0]["content"]
