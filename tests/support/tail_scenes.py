"""Scenes that the rules of attribution were not made on.

Three sets: those that were open while the rules were written, those that were held back and first looked at when the
rules were done, and further ones written after that. docs/benchmarks.md says how each set came out at first sight.
"""

from __future__ import annotations

from dataclasses import replace

from abatch.cli.options.traffic import TrafficOptions
from abatch.reports.summary.causes import Cause
from abatch.workloads.watching.client_audit import Lapse

from support.stepping_server import Machine
from support.tails import Scene


def scene(
    name: str, right: set[Cause], machine: Machine, traffic: TrafficOptions, needed: set[Cause] | None = None
) -> Scene:
    """A scene without lapses of the client."""
    return Scene(name, frozenset(right), machine, traffic, needed=frozenset(needed or ()))


def open_loop(rate: float, tokens: int | None, duration_s: float = 45.0, **options: object) -> TrafficOptions:
    """Single questions at a rate, with answers of a fixed length, or of the lengths of chats."""
    fields: dict[str, object] = {"input_len": 120, "turns": 1, "warmup_s": 2.0, **options}
    return TrafficOptions(
        workload="chat-short",
        session_rate=rate,
        output_len=tokens,
        duration_s=duration_s,
        **fields,  # type: ignore[arg-type]
    )


def closed_loop(concurrency: int, tokens: int, duration_s: float = 60.0, **options: object) -> TrafficOptions:
    """Sessions of several turns that are due as soon as the last has ended, or after a tool's pause."""
    fields: dict[str, object] = {"input_len": 600, "warmup_s": 2.0, **options}
    return TrafficOptions(
        workload="agent-tools",
        concurrency=concurrency,
        output_len=tokens,
        duration_s=duration_s,
        **fields,  # type: ignore[arg-type]
    )


def slowing(from_s: float, to_s: float, factor: float) -> Machine:
    """Steps that get slower and slower between two moments, and stay so."""

    def pace(at_s: float) -> float:
        return 1.0 + (factor - 1.0) * min(1.0, max(0.0, (at_s - from_s) / (to_s - from_s)))

    return Machine(step_s=0.008, pace=pace)


def periodic(length_s: float, every_s: float, until_s: float) -> tuple[tuple[float, float], ...]:
    """Freezes of this length, so often."""
    count = int(until_s / every_s)
    return tuple((every_s * (number + 0.7), length_s) for number in range(count))


_LATE = (Lapse(0.4, 6.0), Lapse(0.6, 14.0), Lapse(0.35, 23.0), Lapse(0.8, 34.0))

OPEN = (
    scene("drift to four times", {Cause.DRIFT}, slowing(22.0, 40.0, 4.0), open_loop(25.0, 20)),
    scene("freeze, short answers", {Cause.STALL}, Machine(freezes=((13.0, 1.6),)), open_loop(30.0, 4)),
    scene(
        "thrashing cache",
        {Cause.COLD_PREFIX, Cause.PREFILL},  # the contexts are computed in others' steps
        Machine(cache_tokens=40_000, prefill_tokens_per_s=40_000),
        closed_loop(11, 12, 170.0, tool_pause_s=1.0, warmup_s=70.0),
    ),
    scene(
        "slow replica, one of four", {Cause.SLOW_REPLICA}, Machine(replicas=(1.0, 1.0, 4.0, 1.0)), open_loop(24.0, 30)
    ),
    scene("network jitter", {Cause.NETWORK}, Machine(held_every=60, held_s=0.15), open_loop(24.0, 30)),
    scene(
        "lone pauses",
        {Cause.SINGLE, Cause.PREEMPTION},
        Machine(step_s=0.005, pause_every=20, pause_s=0.2),
        open_loop(30.0, 20),
    ),
    scene(
        "prompts of other sizes",
        {Cause.PREFILL, Cause.SIZE, Cause.QUEUEING},
        Machine(prefill_tokens_per_s=9_000, chunk_tokens=1_024),
        open_loop(5.0, 80, 90.0, input_len=None),
    ),
    scene(
        "uneven sizes only",
        {Cause.SIZE},
        Machine(prefill_tokens_per_s=2_500, slots=1, replicas=(1.0,) * 64),
        open_loop(20.0, 10, 60.0, input_len=None),
    ),
    replace(scene("late client", {Cause.CLIENT}, Machine(), open_loop(24.0, 25)), lapses=_LATE),
    scene("no tail", set(), Machine(jitter=0.1), open_loop(24.0, 25)),
    scene(
        "a full queue",
        {Cause.QUEUEING, Cause.REFUSALS},
        Machine(slots=8, refuse_above=26, retry_s=0.0),
        open_loop(20.0, 25, 60.0, arrival="bursty"),
    ),
    scene(
        "load shed for a while",
        {Cause.REFUSALS, Cause.SLOW_SPELL},
        Machine(refuse_above=11, retry_s=0.15, pace=lambda at_s: 1.9 if 20.0 <= at_s < 26.0 else 1.0),
        open_loop(26.0, 25),
    ),
    scene("overload by a fifth", {Cause.DRIFT, Cause.QUEUEING}, Machine(slots=8), open_loop(38.0, 25)),
)

HELD_BACK = (
    scene(
        "overload that begins late",
        {Cause.DRIFT, Cause.QUEUEING},
        replace(slowing(24.0, 25.0, 1.8), slots=8, step_s=0.008),
        open_loop(34.0, 25),
    ),
    scene(
        "closed loop, freeze",
        {Cause.STALL},
        Machine(freezes=((21.0, 3.0),), prefill_tokens_per_s=500_000),
        closed_loop(12, 20),
    ),
    scene("slow connections", {Cause.CONNECTION}, Machine(connect_every=30, connect_s=0.4), open_loop(30.0, 20)),
    scene("refusals and backoff", {Cause.REFUSALS}, Machine(refuse_above=12), open_loop(24.0, 30, arrival="bursty")),
    scene("throttled tokens", {Cause.SLOW_SPELL}, Machine(tokens_per_s=700), open_loop(18.0, 30, arrival="bursty")),
    scene("collections", {Cause.STALL}, Machine(freezes=periodic(0.12, 2.9, 45.0)), open_loop(26.0, 22)),
    scene(
        "static batches",
        {Cause.STATIC_BATCH},
        Machine(is_static=True, slots=32),
        open_loop(0.7, None, 700.0),
    ),
    scene(
        "evictions",
        {Cause.SINGLE, Cause.PREEMPTION, Cause.QUEUEING},
        Machine(kv_tokens=2_400, prefill_tokens_per_s=100_000),
        open_loop(24.0, 40, arrival="bursty"),
    ),
    scene(
        "contexts that expire in pauses",
        {Cause.COLD_PREFIX, Cause.PREFILL},
        Machine(cache_s=3.2, prefill_tokens_per_s=12_000),
        closed_loop(10, 15, 90.0),
    ),
    scene(
        "two at once",
        {Cause.CONNECTION, Cause.STALL},
        Machine(connect_every=40, connect_s=0.5, freezes=((11.0, 0.7), (29.0, 0.6))),
        open_loop(26.0, 15),
        needed={Cause.CONNECTION, Cause.STALL},
    ),
    scene("held back by a proxy", {Cause.COALESCING}, Machine(burst=4, jitter=0.1), open_loop(20.0, 32)),
    scene(
        "too few slots",
        {Cause.QUEUEING},
        Machine(slots=10),
        open_loop(15.0, 40, 70.0, arrival="bursty"),
    ),
)

FURTHER = (
    scene(
        "freeze, slow model",
        {Cause.STALL, Cause.PREFILL},
        Machine(step_s=0.05, freezes=((40.0, 6.0),), prefill_tokens_per_s=20000),
        open_loop(4.0, 100, 120.0),
    ),
    scene(
        "collections, fast model",
        {Cause.STALL, Cause.PREFILL},
        Machine(step_s=0.003, freezes=periodic(0.05, 1.3, 30.0)),
        open_loop(60.0, 30, 30.0),
    ),
    scene("slow replica, one of two", {Cause.SLOW_REPLICA}, Machine(replicas=(1.0, 3.5)), open_loop(16.0, 40)),
    scene("slow replica, one of ten", {Cause.SLOW_REPLICA}, Machine(replicas=(1.0,) * 9 + (6.0,)), open_loop(40.0, 30)),
    scene(
        "slow replica with a queue",
        {Cause.SLOW_REPLICA, Cause.QUEUEING, Cause.DRIFT},
        Machine(replicas=(1.0, 1.0, 3.0), slots=8),
        open_loop(20.0, 40),
    ),
    scene("network jitter, often", {Cause.NETWORK}, Machine(held_every=15, held_s=0.08), open_loop(12.0, 60)),
    scene(
        "network jitter, seldom, slow model",
        {Cause.NETWORK},
        Machine(step_s=0.04, held_every=100, held_s=0.6),
        open_loop(5.0, 80, 90.0),
    ),
    scene(
        "held back by a proxy, slow model", {Cause.COALESCING}, Machine(step_s=0.03, burst=8), open_loop(6.0, 64, 60.0)
    ),
    scene(
        "drift, closed loop", {Cause.DRIFT}, replace(slowing(20.0, 60.0, 5.0), step_s=0.02), closed_loop(10, 30, 70.0)
    ),
    scene("one at a time", {Cause.QUEUEING, Cause.PREFILL}, Machine(slots=1, step_s=0.004), open_loop(8.0, 20, 120.0)),
    scene(
        "prompts in line",
        {Cause.QUEUEING, Cause.PREFILL, Cause.SIZE},
        Machine(prefill_tokens_per_s=9000),
        open_loop(9.0, 10, 90.0, input_len=None),
    ),
    scene("slow connections, many", {Cause.CONNECTION}, Machine(connect_every=12, connect_s=0.09), open_loop(25.0, 25)),
    scene(
        "two slow spells",
        {Cause.SLOW_SPELL},
        Machine(pace=lambda at_s: 4.0 if 10 < at_s < 13 or 30 < at_s < 32 else 1.0),
        open_loop(20.0, 30),
    ),
    scene(
        "lone pauses, long",
        {Cause.SINGLE},
        Machine(pause_every=40, pause_s=1.5, step_s=0.02),
        open_loop(10.0, 50, 60.0),
    ),
    scene(
        "freeze and too few slots",
        {Cause.STALL, Cause.QUEUEING},
        Machine(slots=6, freezes=((20.0, 2.0),)),
        open_loop(15.0, 25),
    ),
    scene("four replicas", set(), Machine(replicas=(1.0,) * 4), open_loop(20.0, 25)),
    scene(
        "contexts that expire, and a freeze",
        {Cause.COLD_PREFIX, Cause.STALL, Cause.PREFILL},
        Machine(cache_s=3.5, prefill_tokens_per_s=15000, freezes=((30.0, 3.0),)),
        closed_loop(8, 15, 90.0, warmup_s=10.0),
    ),
    scene(
        "jitter and collections",
        {Cause.NETWORK, Cause.STALL},
        Machine(held_every=80, held_s=0.2, freezes=periodic(0.25, 4.0, 45.0)),
        open_loop(24.0, 30),
    ),
    scene("bursts of arrivals, no limit", set(), Machine(), open_loop(20.0, 30, arrival="bursty")),
    scene(
        "gaps that vary by themselves", {Cause.SINGLE}, Machine(replicas=(1.0,) * 40, jitter=0.9), open_loop(20.0, 30)
    ),
    scene(
        "mixed workload",
        {Cause.SIZE, Cause.PREFILL, Cause.QUEUEING, Cause.COLD_PREFIX},
        Machine(prefill_tokens_per_s=40000, chunk_tokens=2048),
        TrafficOptions(workload="mixed", concurrency=30, duration_s=60.0, warmup_s=5.0),
    ),
)
SCENES = (*OPEN, *HELD_BACK)
