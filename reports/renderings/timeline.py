"""A run as a Chrome trace: what the scheduler, the device and every request did when. Perfetto opens it."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from ...engine.errors import ConfigurationError
from ...engine.loop.step_log import StepRecord
from ...workloads.result import Result
from ..atomic_file import cannot_write, whole_file
from ..run.folder import RunReader

_ENGINE, _REQUESTS = 1, 2
_SCHEDULER, _DEVICE = 1, 2


def check_writable(path: Path, run: Path | None = None) -> None:
    """Raise `ConfigurationError` if a trace could not be written there: better before the run than after it.

    Args:
        path: The file, which must be new: a trace never replaces another file.
        run: The run's folder, which may not exist yet.
    """
    if path.exists():
        raise ConfigurationError(f"--timeline {path} exists already; name a new file")
    folder = path.parent
    if folder != run and not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise ConfigurationError(f"cannot write --timeline {path}: its folder does not exist or is not writable")


def write_timeline(run: RunReader, path: Path) -> None:
    """Write the trace of a saved run; its engine's part only if it was run with a step log.

    Format: the JSON object form of Chrome's trace events, times in microseconds since the run began.

    Raises:
        ConfigurationError: the run is damaged.
        AbatchError: the file cannot be written (see `cannot_write`).
    """
    encoder = msgspec.json.Encoder()
    label = ", ".join(part for part in (run.config.target, run.config.model) if part)
    try:
        with whole_file(path) as file:
            file.write(b'{"displayTimeUnit":"ms","traceEvents":[\n')
            file.write(encoder.encode(_name("process_name", _REQUESTS, 0, f"requests ({run.config.workload})")))
            for event in _events(run, label):
                file.write(b",\n" + encoder.encode(event))
            file.write(b"\n]}\n")
    except OSError as error:
        raise cannot_write(str(path), error) from error


def _events(run: RunReader, label: str) -> Iterator[dict[str, Any]]:
    has_steps = False
    for step in run.steps():
        if not has_steps:
            yield _name("process_name", _ENGINE, 0, f"engine ({label})")
            yield _name("thread_name", _ENGINE, _SCHEDULER, "scheduler")
            yield _name("thread_name", _ENGINE, _DEVICE, "device")
            has_steps = True
        yield from _step_events(step, run.config.origin_s)
    yield from _request_events(run)


def _step_events(step: StepRecord, origin_s: float) -> Iterator[dict[str, Any]]:
    """Plan and launch, commit, and the device's work. What is empty between them is waiting, or idle."""
    tokens = {
        "step": step.step,
        "decode tokens": step.num_decode_tokens,
        "prefill tokens": step.num_prefill_tokens,
        "requests": step.num_seqs,
        "preempted": step.num_preempted,
    }

    def span(thread: int, name: str, start_s: float, end_s: float) -> dict[str, Any]:
        return _span(_ENGINE, thread, name, start_s - origin_s, end_s - origin_s, tokens)

    kind = "decode" if step.num_prefill_tokens == 0 else "prefill" if step.num_decode_tokens == 0 else "mixed"
    # Where launching waits for the device, as it may on a CPU, the device's row has that part.
    launched_s = step.device_start_s if step.device_end_s <= step.launched_s else step.launched_s
    yield span(_SCHEDULER, f"plan and launch {step.step}", step.planned_s, launched_s)
    yield span(_DEVICE, f"{kind} {step.step}", step.device_start_s, step.device_end_s)
    yield span(_SCHEDULER, f"commit {step.step}", step.collected_s, step.committed_s)
    at_us = _us(step.planned_s - origin_s)
    yield {"ph": "C", "pid": _ENGINE, "name": "requests", "ts": at_us, "args": {"waiting": step.num_waiting}}
    yield {"ph": "C", "pid": _ENGINE, "name": "KV blocks", "ts": at_us, "args": {"held": step.num_blocks_held}}


def _request_events(run: RunReader) -> Iterator[dict[str, Any]]:
    """Each request as waiting for its first token, then receiving tokens, in the first row that is free."""
    # Only what is needed of each: a long run has many.
    requests = sorted((_Request(result) for result in run.results()), key=lambda request: request.due_s)
    free: list[int] = []
    busy: list[tuple[float, int]] = []
    num_rows = 0
    for request in requests:
        while busy and busy[0][0] <= request.due_s:
            heapq.heappush(free, heapq.heappop(busy)[1])
        row = heapq.heappop(free) if free else len(busy) + 1
        if row > num_rows:
            num_rows = row
            yield _name("thread_name", _REQUESTS, row, f"requests, row {row}")
        heapq.heappush(busy, (request.end_s, row))
        first_s = request.end_s if request.first_s is None else request.first_s
        yield _span(_REQUESTS, row, f"{request.name} first token", request.due_s, first_s, request.facts)
        if first_s < request.end_s:
            yield _span(_REQUESTS, row, f"{request.name} tokens", first_s, request.end_s, request.facts)


class _Request:
    __slots__ = ("due_s", "end_s", "facts", "first_s", "name")

    def __init__(self, result: Result) -> None:
        self.name = f"{result.session_id}.{result.turn_index}"
        self.due_s, self.first_s, self.end_s = result.due_s, result.first_s, max(result.end_s, result.due_s)
        self.facts = {
            "class": result.traffic_class,
            "prompt tokens": result.prompt_tokens,
            "cached tokens": result.cached_tokens,
            "output tokens": result.output_tokens,
            "longest gap ms": max(result.gaps_us, default=0) / 1e3,
            "error": result.error,
        }


def _span(process: int, thread: int, name: str, start_s: float, end_s: float, facts: dict[str, Any]) -> dict[str, Any]:
    start_us = _us(start_s)
    return {
        "ph": "X",
        "pid": process,
        "tid": thread,
        "name": name,
        "ts": start_us,
        "dur": round(_us(end_s) - start_us, 3),
        "args": facts,
    }


def _name(kind: str, process: int, thread: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "pid": process, "tid": thread, "name": kind, "args": {"name": name}}


def _us(seconds: float) -> float:
    return round(seconds * 1e6, 3)
