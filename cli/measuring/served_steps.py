"""Steps of our engine under a short load through HTTP: what a simulated device has to add to steps measured alone."""

from __future__ import annotations

import json
import statistics
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ...engine.errors import AbatchError
from ...engine.loop.messages import Ready
from ...engine.loop.step_log import StepRecord
from ...engine.simulation.measured_steps import MeasuredSteps
from ...engine.simulation.served_fit import ServedStep
from ...engine.simulation.step_work import StepWork
from ...workloads.result import Result
from ...workloads.run_limits import RunLimits
from .observer import Observer
from .plan import Plan
from .running import run
from .targets import OwnServer
from .traffic import TraceFile, TrafficRecipe

_INPUT_TOKENS, _OUTPUT_TOKENS = 64, 16
_BURSTS = (1, 8, 2, 4, 1, 16, 32, 1, 2, 8)
"""Requests that come at once, again and again: every number of sequences runs for a while, and an idle engine is found
by many requests. A slow model has time for the first few only."""
_MOST_CYCLES = 8
_FIRST_S, _MARGIN, _PAUSE_S = 0.3, 1.5, 0.2
"""Before the first burst; what a burst may take over its forecast before the next one; and on top."""
_DRAIN_S = 20.0
_LEAST_STEPS = 30


@dataclass(frozen=True, slots=True)
class Served:
    """What a run under load showed.

    Attributes:
        steps: That only decoded, right behind another one.
        request_s: What a request spends outside of steps (see `HostOverhead`).
    """

    steps: Sequence[ServedStep]
    request_s: float


def measure_served(
    source: OwnServer, ready: Ready, alone: MeasuredSteps, folder: Path, budget_s: float, observer: Observer
) -> Served:
    """Serve bursts of short requests and read the engine's step log.

    Args:
        source: Our server, with a step log.
        ready: What the same engine said of itself.
        alone: Its steps without a server.
        folder: An empty one, for the run.
        budget_s: What sending may take.
        observer: Is told how it goes.

    Raises:
        AbatchError: the server cannot be started, or too few steps ran.
        KeyboardInterrupt: before the end.
    """
    trace = folder / "bursts.jsonl"
    trace.write_text("".join(_lines(_bursts(alone, ready, budget_s))))
    recipe = TrafficRecipe(
        trace=TraceFile(path=trace), limits=RunLimits(duration_s=None, warmup_s=0.0, drain_s=_DRAIN_S)
    )
    measured = run(Plan(traffic=recipe.make(), source=source, folder=folder / "run"), observer)
    if not measured.summary.is_complete:
        raise KeyboardInterrupt
    records = list(measured.reader.steps())
    origin_s = measured.config.origin_s
    found = served_steps(records, origin_s, ready.block_size, is_synchronous=alone.is_synchronous)
    if len(found) < _LEAST_STEPS:
        raise AbatchError(
            f"{len(found)} steps of served requests ran one behind the other, too few to tell what serving adds: the "
            "machine was busy with something else, or the model is too slow for it; calibrate again when it is idle"
        )
    return Served(found, request_s(records, list(measured.results()), origin_s))


def _bursts(alone: MeasuredSteps, ready: Ready, budget_s: float) -> Iterator[tuple[float, int]]:
    """When bursts come, and of how many requests."""
    at_s = _FIRST_S
    for number in range(_MOST_CYCLES * len(_BURSTS)):
        count = min(_BURSTS[number % len(_BURSTS)], ready.max_num_seqs)
        prefill = StepWork(_INPUT_TOKENS, 1, _INPUT_TOKENS, _INPUT_TOKENS**2 / 2)
        context = count * (_INPUT_TOKENS + _OUTPUT_TOKENS)
        decode_s = alone.seconds(StepWork(count, count, context, context))
        lasts_s = _MARGIN * (count * alone.seconds(prefill) + _OUTPUT_TOKENS * decode_s) + _PAUSE_S
        if number and at_s + lasts_s > budget_s:
            continue
        yield at_s, count
        at_s += lasts_s


def _lines(bursts: Iterator[tuple[float, int]]) -> Iterator[str]:
    """A trace of them, in Mooncake's format: no two prompts begin alike."""
    number = 0
    for at_s, count in bursts:
        for _ in range(count):
            number += 1
            row = {
                "timestamp": round(at_s * 1e3),
                "input_length": _INPUT_TOKENS,
                "output_length": _OUTPUT_TOKENS,
                "hash_ids": [number],
            }
            yield json.dumps(row) + "\n"


def served_steps(
    records: Sequence[StepRecord], from_s: float, block_size: int, *, is_synchronous: bool
) -> list[ServedStep]:
    """The steps since `from_s` that only decode, behind a step of as many sequences.

    What they had read of the KV goes by the blocks that were held: the last one of a sequence is half full on average.
    """
    found = []
    for before, step in pairwise(records):
        count = step.num_seqs
        if step.planned_s < from_s or step.num_prefill_tokens or before.num_seqs != count:
            continue
        held = (step.num_blocks_held - step.num_blocks_pinned) * block_size
        context = max(count, held - count * (block_size - 1) / 2)
        if is_synchronous:
            host_s = step.gap_s
        else:
            host_s = step.launched_s - step.planned_s + step.committed_s - step.collected_s
        work = StepWork(count, count, context, context)
        found.append(ServedStep(count, work, step.device_end_s - step.device_start_s, host_s))
    return found


def request_s(records: Sequence[StepRecord], results: Sequence[Result], origin_s: float) -> float:
    """The median time that a request which found the engine idle spent outside of it until its first token.

    0 if there was no such request.
    """
    starts = [record.planned_s for record in records]
    alone = [result for result in results if _is_alone(result, results) and result.first_s is not None]
    outside = []
    for result in alone:
        assert result.first_s is not None
        sent_s, first_s = origin_s + result.due_s, origin_s + result.first_s
        first = bisect_left(starts, sent_s)
        if first == len(records) or (first and records[first - 1].device_end_s > sent_s):
            continue
        prefills = [record for record in records[first:] if record.num_prefill_tokens and record.device_end_s < first_s]
        if prefills:
            outside.append(first_s - sent_s - (prefills[-1].device_end_s - starts[first]))
    return max(0.0, statistics.median(outside)) if outside else 0.0


def _is_alone(result: Result, results: Sequence[Result]) -> bool:
    """No other request was there at the same time."""
    return not any(
        other is not result and other.due_s <= result.end_s and other.end_s >= result.due_s for other in results
    )
