"""A run as a Chrome trace."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
import pytest
from abatch.engine.errors import ConfigurationError
from abatch.engine.loop.step_log import StepRecord
from abatch.reports.renderings.timeline import write_timeline
from abatch.reports.run.config import RunConfig
from abatch.reports.run.folder import STEPS, RunReader
from abatch.reports.run.writer import RunWriter
from support.results import make_result

_ORIGIN_S = 500.0


def step(number: int, *, prefill: int = 0) -> StepRecord:
    """A 10 ms step, planned 2 ms before the one before it ends."""
    start_s = _ORIGIN_S + number * 0.010
    return StepRecord(
        step=number,
        planned_s=start_s - 0.002,
        launched_s=start_s - 0.001,
        device_start_s=start_s,
        device_end_s=start_s + 0.010,
        collected_s=start_s + 0.0101,
        committed_s=start_s + 0.0105,
        num_decode_tokens=4,
        num_prefill_tokens=prefill,
        num_seqs=4,
        num_waiting=number % 3,
        num_preempted=0,
        num_blocks_held=40 + number,
    )


def trace(folder: Path, *, steps: int = 5) -> list[dict[str, Any]]:
    writer = RunWriter(folder / "run", RunConfig(workload="test", target="abatch", model="m", origin_s=_ORIGIN_S))
    writer.start()
    for index in range(6):
        writer.add(make_result(5.0, gaps_ms=(5.0, 20.0), due_s=index * 0.010, session_id=f"chat-{index}"))
    writer.add(make_result(due_s=0.02, first_s=None, error="http_503", gaps_us=[]))
    writer.finish(0.1, is_complete=True)
    if steps:
        lines = [msgspec.json.encode(step(number, prefill=64 * (number == 2))) for number in range(steps)]
        (folder / "run" / STEPS).write_bytes(b"\n".join(lines) + b"\n")
    write_timeline(RunReader(folder / "run"), folder / "out.json")
    loaded = json.loads((folder / "out.json").read_text())
    events: list[dict[str, Any]] = loaded["traceEvents"]
    return events


def rows(events: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Spans by `process/thread`, in order of their start."""
    names = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == "thread_name"}
    found = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            key = event["pid"], event["tid"]
            found[names[key]].append(event)
    return {name: sorted(spans, key=lambda span: float(span["ts"])) for name, spans in found.items()}


def test_scheduler_device_and_requests_have_their_rows(tmp_path: Path) -> None:
    events = trace(tmp_path)
    by_row = rows(events)
    assert [span["name"] for span in by_row["device"]][:3] == ["decode 0", "decode 1", "mixed 2"]
    assert [(span["ts"], span["dur"]) for span in by_row["device"]][1] == pytest.approx((10_000, 10_000))
    assert {span["name"].rpartition(" ")[0] for span in by_row["scheduler"]} == {"plan and launch", "commit"}
    requests = [span for name, spans in by_row.items() if name.startswith("request") for span in spans]
    assert {span["name"] for span in requests} >= {"chat-3.0 first token", "chat-3.0 tokens"}
    (failed,) = [span for span in requests if span["args"]["error"]]
    assert failed["name"] == "s-0.0 first token"
    assert {event["name"] for event in events if event["ph"] == "C"} == {"requests", "KV blocks"}


def test_the_overlap_can_be_seen_and_spans_of_a_row_do_not_overlap(tmp_path: Path) -> None:
    by_row = rows(trace(tmp_path))
    for spans in by_row.values():
        for before, after in itertools.pairwise(spans):
            assert before["ts"] + before["dur"] <= after["ts"] + 0.01, "a viewer would nest them"
    planned = {span["args"]["step"]: span for span in by_row["scheduler"] if span["name"].startswith("plan")}
    for span in by_row["device"][:-1]:
        ahead = planned[span["args"]["step"] + 1]
        assert span["ts"] < ahead["ts"] < ahead["ts"] + ahead["dur"] <= span["ts"] + span["dur"]


def test_a_run_without_a_step_log_has_its_requests(tmp_path: Path) -> None:
    assert all(name.startswith("request") for name in rows(trace(tmp_path, steps=0)))


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    trace(tmp_path)
    with pytest.raises(ConfigurationError, match=r"cannot write .*No such file"):
        write_timeline(RunReader(tmp_path / "run"), tmp_path / "no" / "out.json")
