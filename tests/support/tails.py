"""Scenes with a tail of known cause that the rules of attribution were not made on: what is said of them is scored.

Every other scene was also held back while the rules were written, and first looked at when they were done.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from abatch.cli.options.recipe import make_traffic
from abatch.cli.options.traffic import TrafficOptions
from abatch.engine.hosting.virtual_time import VirtualTimeLoop
from abatch.reports.attribution.attribution import attribute
from abatch.reports.run.config import RunConfig
from abatch.reports.run.folder import recorded_part, summarise
from abatch.reports.summary.causes import Cause
from abatch.reports.summary.finding import Label
from abatch.reports.summary.findings import findings
from abatch.reports.summary.size import tell_uneven_work
from abatch.reports.summary.summary import Summary
from abatch.workloads.load_generator import LoadGenerator
from abatch.workloads.result import Result
from abatch.workloads.targets.prompts import PromptSizer
from abatch.workloads.watching.client_watch import Lapse

from support.injections import lapsed, read_late
from support.stepping_server import Machine, SteppingServer


@dataclass(frozen=True, slots=True)
class Scene:
    """A server's fault, the traffic that meets it, and what may be said.

    Attributes:
        right: Causes that are true. Any other that is said is wrong; silence is not.
        needed: Those that must be said, besides.
        is_held_back: Not looked at while the rules were written.
    """

    name: str
    right: frozenset[Cause]
    machine: Machine
    traffic: TrafficOptions
    lapses: tuple[Lapse, ...] = ()
    needed: frozenset[Cause] = frozenset()
    is_held_back: bool = False


def play(scene: Scene, seed: int = 0) -> list[Result]:
    """Its results, in virtual time."""
    planned = make_traffic(replace(scene.traffic, seed=seed))
    results: list[Result] = []

    async def replay() -> None:
        generator = LoadGenerator(
            planned.workload,
            SteppingServer(replace(scene.machine, seed=seed)),
            planned.limits,
            seed=seed,
            sizer=PromptSizer(is_measured=True),
            on_result=results.append,
        )
        await generator.run()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(replay())
    return read_late(results, scene.lapses) if scene.lapses else results


def report(scene: Scene, results: list[Result]) -> Summary:
    """The summary of a scene's results, as a run folder has it."""
    assert scene.traffic.duration_s is not None
    assert scene.traffic.warmup_s is not None
    duration_s, warmup_s = scene.traffic.duration_s, scene.traffic.warmup_s
    config = RunConfig(duration_s=duration_s, warmup_s=warmup_s)
    recorder = config.new_recorder()
    for result in results:
        recorder.add(result)
    part = recorded_part(config, recorder, duration_s - warmup_s, lambda: results)
    summary = summarise(config, part)
    summary.client = lapsed(scene.lapses) if scene.lapses else None
    summary.attribution = attribute(lambda: results, summary)
    tell_uneven_work(summary)
    return summary


def said(summary: Summary) -> set[Cause]:
    """Every cause that a reader of the report is told of."""
    told = {
        finding.cause
        for finding in findings(summary)
        if finding.label in (Label.CAUSE, Label.STALL, Label.ADVICE) and finding.cause is not None
    }
    verdicts = {Label.UNEVEN_WORK: Cause.SIZE, Label.OVERLOADED: Cause.DRIFT, Label.NOT_STEADY: Cause.DRIFT}
    told |= {verdicts[finding.label] for finding in findings(summary) if finding.label in verdicts}
    return told - {Cause.UNKNOWN}


def _scene(
    name: str, right: set[Cause], machine: Machine, traffic: TrafficOptions, needed: set[Cause] | None = None
) -> Scene:
    return Scene(name, frozenset(right), machine, traffic, needed=frozenset(needed or ()))


def _rate(rate: float, tokens: int, duration_s: float = 45.0, **options: object) -> TrafficOptions:
    """Single questions at a rate, with answers of a fixed length."""
    fields: dict[str, object] = {"input_len": 120, "turns": 1, "warmup_s": 2.0, **options}
    return TrafficOptions(
        workload="chat-short",
        request_rate=rate,
        output_len=tokens,
        duration_s=duration_s,
        **fields,  # type: ignore[arg-type]
    )


def _sessions(concurrency: int, tokens: int, duration_s: float = 60.0, **options: object) -> TrafficOptions:
    """Sessions of several turns that are due as soon as the last has ended, or after a tool's pause."""
    fields: dict[str, object] = {"input_len": 600, "warmup_s": 2.0, **options}
    return TrafficOptions(
        workload="agent-tools",
        concurrency=concurrency,
        output_len=tokens,
        duration_s=duration_s,
        **fields,  # type: ignore[arg-type]
    )


def _slower(from_s: float, to_s: float, factor: float) -> Machine:
    """Steps that get slower and slower between two moments, and stay so."""

    def pace(at_s: float) -> float:
        return 1.0 + (factor - 1.0) * min(1.0, max(0.0, (at_s - from_s) / (to_s - from_s)))

    return Machine(step_s=0.008, pace=pace)


def _every(length_s: float, every_s: float, until_s: float) -> tuple[tuple[float, float], ...]:
    count = int(until_s / every_s)
    return tuple((every_s * (number + 0.7), length_s) for number in range(count))


_LATE = (Lapse(0.4, 6.0), Lapse(0.6, 14.0), Lapse(0.35, 23.0), Lapse(0.8, 34.0))

_OPEN = (
    _scene("drift to four times", {Cause.DRIFT}, _slower(22.0, 40.0, 4.0), _rate(25.0, 20)),
    _scene("freeze, short answers", {Cause.STALL}, Machine(freezes=((13.0, 1.6),)), _rate(30.0, 4)),
    _scene(
        "thrashing cache",
        {Cause.COLD_PREFIX, Cause.PREFILL},  # the contexts are computed in others' steps
        Machine(cache_tokens=40_000, prefill_tokens_per_s=40_000),
        _sessions(11, 12, 120.0, tool_pause_s=1.0, warmup_s=30.0),
    ),
    _scene("slow replica, one of four", {Cause.SLOW_REPLICA}, Machine(replicas=(1.0, 1.0, 4.0, 1.0)), _rate(24.0, 30)),
    _scene("network jitter", {Cause.NETWORK}, Machine(held_every=60, held_s=0.15), _rate(24.0, 30)),
    _scene(
        "lone pauses",
        {Cause.SINGLE, Cause.PREEMPTION},
        Machine(step_s=0.005, pause_every=20, pause_s=0.2),
        _rate(30.0, 20),
    ),
    _scene(
        "prompts of other sizes",
        {Cause.PREFILL, Cause.SIZE, Cause.QUEUEING},
        Machine(prefill_tokens_per_s=9_000, chunk_tokens=1_024),
        _rate(5.0, 80, 90.0, input_len=None),
    ),
    _scene(
        "uneven sizes only",
        {Cause.SIZE},
        Machine(prefill_tokens_per_s=2_500, slots=1, replicas=(1.0,) * 64),
        _rate(20.0, 10, 60.0, input_len=None),
    ),
    replace(_scene("late client", {Cause.CLIENT}, Machine(), _rate(24.0, 25)), lapses=_LATE),
    _scene("no tail", set(), Machine(jitter=0.1), _rate(24.0, 25)),
    _scene("overload by a fifth", {Cause.DRIFT, Cause.QUEUEING}, Machine(slots=8), _rate(38.0, 25)),
)

_HELD_BACK = (
    _scene(
        "overload that begins late",
        {Cause.DRIFT, Cause.QUEUEING},
        replace(_slower(24.0, 25.0, 1.8), slots=8, step_s=0.008),
        _rate(34.0, 25),
    ),
    _scene(
        "closed loop, freeze",
        {Cause.STALL},
        Machine(freezes=((21.0, 3.0),), prefill_tokens_per_s=500_000),
        _sessions(12, 20),
    ),
    _scene("slow connections", {Cause.CONNECTION}, Machine(connect_every=30, connect_s=0.4), _rate(30.0, 20)),
    _scene("refusals and backoff", {Cause.REFUSALS}, Machine(refuse_above=12), _rate(24.0, 30, arrival="bursty")),
    _scene("throttled tokens", {Cause.SLOW_SPELL}, Machine(tokens_per_s=700), _rate(18.0, 30, arrival="bursty")),
    _scene("collections", {Cause.STALL}, Machine(freezes=_every(0.12, 2.9, 45.0)), _rate(26.0, 22)),
    _scene(
        "static batches",
        {Cause.STATIC_BATCH},
        Machine(is_static=True, slots=32),
        _rate(5.0, 40, 120.0),
    ),
    _scene(
        "evictions",
        {Cause.SINGLE, Cause.PREEMPTION, Cause.QUEUEING},
        Machine(kv_tokens=2_400, prefill_tokens_per_s=100_000),
        _rate(24.0, 40, arrival="bursty"),
    ),
    _scene(
        "contexts that expire in pauses",
        {Cause.COLD_PREFIX, Cause.PREFILL},
        Machine(cache_s=3.2, prefill_tokens_per_s=12_000),
        _sessions(10, 15, 90.0),
    ),
    _scene(
        "two at once",
        {Cause.CONNECTION, Cause.STALL},
        Machine(connect_every=40, connect_s=0.5, freezes=((11.0, 0.7), (29.0, 0.6))),
        _rate(26.0, 15),
        needed={Cause.CONNECTION, Cause.STALL},
    ),
    _scene("held back by a proxy", {Cause.COALESCING}, Machine(burst=4, jitter=0.1), _rate(20.0, 32)),
    _scene(
        "too few slots",
        {Cause.QUEUEING},
        Machine(slots=10),
        _rate(15.0, 40, 70.0, arrival="bursty"),
    ),
)
SCENES = (*_OPEN, *(replace(scene, is_held_back=True) for scene in _HELD_BACK))
