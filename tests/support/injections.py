"""Runs whose tails have a known cause: what attribution is scored against."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
from abatch.cli.measuring.measure import run
from abatch.cli.measuring.plan import Plan
from abatch.cli.options.engine import EngineOptions
from abatch.cli.options.recipe import make_traffic
from abatch.cli.options.target import TargetOptions
from abatch.cli.options.traffic import TrafficOptions
from abatch.engine.hosting.virtual_time import VirtualTimeLoop
from abatch.engine.null_server.behaviour import Behaviour
from abatch.reports.attribution.attribution import has_preempted, label
from abatch.reports.attribution.examine import examine
from abatch.reports.attribution.steps import StepIndex
from abatch.reports.attribution.tail_events import TailEvent
from abatch.reports.recording.recorder import Recorder
from abatch.reports.run.folder import RunReader
from abatch.reports.summary.causes import Cause
from abatch.reports.summary.client import ClientSummary
from abatch.reports.summary.summary import Summary, fill_summary
from abatch.workloads.load_generator import LoadGenerator
from abatch.workloads.result import Result
from abatch.workloads.targets.prompts import PromptSizer
from abatch.workloads.watching.client_audit import Lapse

from support.behaving_target import BehavingTarget

Truth = Callable[[TailEvent], Cause | None]
"""The true cause of an event; None where nobody can say."""


@dataclass(frozen=True, slots=True)
class Injection:
    """A run and what is true of its tail. `is_gap`: the truth is about gaps; else about ttfts."""

    results: list[Result]
    summary: Summary
    truth: Truth
    is_gap: bool
    has_preempted: bool = False

    def judged(self) -> Iterator[tuple[Cause, Cause]]:
        """(true, found by what a client can see) for each event of the tail that the truth is known of."""
        examined = examine(lambda: self.results, self.summary, has_preempted=self.has_preempted)
        (tail,) = examined.tails.values()
        for event, cause in label(tail.events, examined.setting, None, is_gap=self.is_gap):
            if not event.is_control and (true := self.truth(event)) is not None:
                yield true, cause


def simulated(
    folder: Path, truth: Truth | None, *, is_gap: bool, traffic: TrafficOptions, engine: EngineOptions | None = None
) -> Injection:
    """The engine on a simulated H100. Without a truth, that of gaps is what the step log says."""
    engine = replace(engine or EngineOptions(), device="simulated:h100")
    source = TargetOptions(step_log=True).source(engine, 0)
    plan = Plan(traffic=make_traffic(traffic), source=source, folder=folder, server_metrics_s=1.0)
    summary = run(plan).summary
    reader = RunReader(folder)
    if truth is None:
        truth = StepIndex(reader.steps(), reader.config.origin_s).cause_of_gap
    preempted = has_preempted(list(reader.server_samples()))
    return Injection(list(reader.results()), summary, truth, is_gap, preempted)


_NULL_TRAFFIC = TrafficOptions(workload="chat-short", turns=1, session_rate=20.0, duration_s=40.0, warmup_s=0.0)


def null_run(behaviour: Behaviour, traffic: TrafficOptions = _NULL_TRAFFIC) -> list[Result]:
    """Results against a null server, in virtual time."""
    planned = make_traffic(traffic)
    results: list[Result] = []

    async def replay() -> None:
        generator = LoadGenerator(
            planned.workload,
            BehavingTarget(behaviour),
            planned.limits,
            seed=planned.seed,
            sizer=PromptSizer(is_measured=True),
            on_result=results.append,
        )
        await generator.run()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(replay())
    return results


def summarised(results: list[Result], lapses: list[Lapse] | None = None) -> Summary:
    """A summary of results, with a client that stood still at times."""
    recorder = Recorder()
    for result in results:
        recorder.add(result)
    summary = fill_summary(Summary(), recorder, max(result.end_s for result in results))
    summary.client = None if lapses is None else lapsed(lapses)
    return summary


def lapsed(lapses: Sequence[Lapse]) -> ClientSummary:
    """A client that stood still at times."""
    return ClientSummary(
        lag_p50_ms=0.1,
        lag_p99_ms=1.0,
        lag_p999_ms=1.0,
        lag_max_ms=1.0,
        gc_pauses=0,
        gc_share=0.0,
        gc_longest_ms=0.0,
        cpu_share=0.1,
        lapses=list(lapses),
    )


def read_late(results: list[Result], lapses: Sequence[Lapse]) -> list[Result]:
    """The same results as a client sees them that stood still at times: what came meanwhile is read afterwards."""

    def seen(at_s: float) -> float:
        for lapse in lapses:
            if lapse.start_s <= at_s < lapse.start_s + lapse.length_s:
                return lapse.start_s + lapse.length_s
        return at_s

    late = []
    for result in results:
        assert result.first_s is not None
        assert result.sent_s is not None
        chunk_s = [result.first_s]
        for gap_us in result.gaps_us:
            chunk_s.append(chunk_s[-1] + gap_us / 1e6)
        chunk_s = [seen(at_s) for at_s in chunk_s]
        gaps = [round((after - before) * 1e6) for before, after in pairwise(chunk_s)]
        late.append(
            msgspec.structs.replace(
                result,
                sent_s=seen(result.sent_s),
                first_s=chunk_s[0],
                # What is read in one go is one arrival.
                gaps_us=[gap for gap in gaps if gap],
                end_s=max(seen(result.end_s), chunk_s[-1]),
            )
        )
    return late


def always(cause: Cause) -> Truth:
    """Everything in this run's tail has the same cause."""
    return lambda _: cause


def within(start_s: float, length_s: float, cause: Cause) -> Truth:
    """What overlaps this time has the cause."""
    return lambda event: cause if event.start_s < start_s + length_s and event.end_s > start_s else None


def _recomputed(reader: RunReader) -> Truth:
    """Cold where the engine says that it computed the context of that very turn again, and little else."""
    origin_s = reader.config.origin_s
    begun: dict[str, list[tuple[float, int]]] = {}
    for step in reader.steps():
        for event in step.parking:
            if event.action == "recomputed":
                begun.setdefault(event.session_id, []).append((step.planned_s - origin_s, event.num_blocks))
    tokens = {
        (result.session_id, result.turn_index): (result.prompt_tokens or 0, result.cached_tokens or 0)
        for result in reader.results()
    }

    def truth(event: TailEvent) -> Cause | None:
        num_prompt, num_cached = tokens[event.key]
        for at_s, num_blocks in begun.get(event.key[0], ()):
            num_lost = num_blocks * _BLOCK_SIZE - num_cached
            if event.start_s - 0.05 <= at_s <= event.end_s and 2 * num_lost > num_prompt - num_cached:
                return Cause.COLD_PREFIX
        return None

    return truth


def _queued(reader: RunReader) -> Truth:
    """Queueing where the engine says that somebody was waiting for a slot during most of the wait."""
    steps = [(step.planned_s - reader.config.origin_s, step.num_waiting) for step in reader.steps()]

    def truth(event: TailEvent) -> Cause | None:
        first = bisect_left(steps, (event.start_s, 0))
        last = bisect_left(steps, (event.end_s, 0))
        num_waiting = sum(1 for _, waiting in steps[first:last] if waiting)
        return Cause.QUEUEING if num_waiting > 0.5 * (last - first) else None

    return truth


_BLOCK_SIZE = 16
_FREEZE = Behaviour(freeze_at_s=15.0, freeze_for_s=2.0, jitter=0.2)
_LAPSES = [Lapse(0.3, 5.0), Lapse(1.0, 12.0), Lapse(0.2, 20.0), Lapse(0.5, 31.0)]


def injections(folder: Path, seed: int = 0, *, is_short: bool = False) -> Iterator[tuple[str, Injection]]:
    """One run for each cause, by name. `is_short`: half of the one that takes longest, which has events enough."""

    def null(behaviour: Behaviour, traffic: TrafficOptions = _NULL_TRAFFIC) -> list[Result]:
        return null_run(replace(behaviour, seed=seed), replace(traffic, seed=seed))

    def engine(name: str, truth: Truth | None, *, is_gap: bool, traffic: TrafficOptions, **options: Any) -> Injection:
        traffic = replace(traffic, seed=seed)
        uneven = EngineOptions(max_step_ms=0.0, **options)  # prompts are not spread over steps, or there is no tail
        return simulated(folder / name, truth, is_gap=is_gap, traffic=traffic, engine=uneven)

    frozen = null(_FREEZE)
    for is_gap in (True, False):
        truth = within(15.0, 2.0, Cause.STALL)
        yield f"freeze, {'gaps' if is_gap else 'ttft'}", Injection(frozen, summarised(frozen), truth, is_gap)
    stalled = null(Behaviour(stall_every=10, stall_for_s=0.5, jitter=0.2))
    yield "one stream stalls", Injection(stalled, summarised(stalled), always(Cause.SINGLE), is_gap=True)
    held_back = null(Behaviour(burst=6, jitter=0.2))
    yield "bursts", Injection(held_back, summarised(held_back), always(Cause.COALESCING), is_gap=True)
    late = read_late(null(Behaviour(jitter=0.2)), _LAPSES)
    for is_gap in (True, False):
        injection = Injection(late, summarised(late, _LAPSES), always(Cause.CLIENT), is_gap)
        yield f"client stands still, {'gaps' if is_gap else 'ttft'}", injection
    uneven = null(
        Behaviour(prefill_tokens_per_s=2000.0, jitter=0.1),
        replace(_NULL_TRAFFIC, workload="mixed", session_rate=2.0, duration_s=80.0),
    )
    yield "uneven prompts", Injection(uneven, summarised(uneven), always(Cause.SIZE), is_gap=False)
    yield (
        "long prompts beside decodes",
        engine(
            "prompts",
            None,
            is_gap=True,
            traffic=TrafficOptions(workload="hol-probe", duration_s=60.0),
        ),
    )
    crowd = replace(_CHATS, session_rate=8.0, duration_s=60.0 if is_short else 120.0)
    little = {"num_blocks": 500, "max_num_batched_tokens": 512}
    yield "too little memory", engine("memory", None, is_gap=True, traffic=crowd, **little)
    batches = engine("batches", always(Cause.STATIC_BATCH), is_gap=False, traffic=_CHATS, batching="window")
    yield "static batches", batches
    queued = engine("queue", None, is_gap=False, traffic=replace(_CHATS, arrival="bursty"), max_num_seqs=16)
    yield "too few slots", replace(queued, truth=_queued(RunReader(folder / "queue")))
    dropped = engine("dropped", None, is_gap=False, traffic=_DROPPED, park="drop", num_blocks=1200)
    yield "contexts dropped", replace(dropped, truth=_recomputed(RunReader(folder / "dropped")))


_CHATS = TrafficOptions(workload="chat-short", session_rate=4.0, duration_s=120.0)
_DROPPED = TrafficOptions(workload="agent-tools", concurrency=12, duration_s=120.0, context_scale=0.3)
