"""Eighteen more scenes, written when the rules had been corrected twice, and scored once."""

from __future__ import annotations

from dataclasses import replace

from abatch.cli.options.traffic import TrafficOptions
from abatch.reports.summary.causes import Cause
from abatch.workloads.watching.client_audit import Lapse

from support.more_site_scenes import surge
from support.site.link import Lossy, Outages
from support.site.site import Site
from support.site.worker import Batch
from support.site_scenes import chats, often, scene
from support.stepping_server import Machine
from support.tails import Scene


def at_machine(name: str, right: set[Cause], machine: Machine, traffic: TrafficOptions) -> Scene:
    """A scene at a stepping server."""
    return Scene(name, frozenset(right), machine, traffic)


def leaking(at_s: float) -> float:
    """Twice as slow after 80 s."""
    return 1.0 + at_s / 80.0


THIRD_SIGHT = (
    scene(
        "link that fails often, for a moment",
        {Cause.NETWORK},
        Site(link=Outages(often(0.25, 5.0, 60.0))),
        chats(session_rate=4.0, turns=1, input_len=150, output_len=150),
    ),
    scene(
        "every other connection loses segments",
        {Cause.NETWORK},
        Site(rigs=(Batch(), Batch()), link=Lossy(2, 0.01, 0.4)),
        chats(session_rate=9.0, input_len=200, output_len=70),
    ),
    scene(
        "closed loop of long answers, two freezes",
        {Cause.STALL},
        Site(rigs=(Batch(pauses=((20.0, 1.5), (44.0, 2.2))),)),
        chats(concurrency=20, input_len=250, output_len=200, duration_s=70.0),
    ),
    replace(
        scene(
            "rush hour",
            {Cause.QUEUEING},
            Site(rigs=(Batch(slots=24),), scrapes=True),
            chats(session_rate=8.0, turns=1, input_len=200, output_len=60, duration_s=100.0),
        ),
        besides=(surge(35.0, 52.0, 24.0, 200, 60),),
    ),
    scene(
        "restarted, and reported",
        {Cause.COLD_PREFIX, Cause.PREFILL, Cause.QUEUEING, Cause.SIZE},
        Site(rigs=(Batch(prompt_tokens_per_s=14_000),), emptied_s=(40.0,)),
        TrafficOptions(workload="agent-tools", concurrency=10, duration_s=75.0, warmup_s=10.0, output_len=25),
    ),
    scene(
        "long answers among short ones",
        {Cause.SIZE},
        Site(rigs=(Batch(),)),
        chats(session_rate=5.0, turns=1, input_len=150, duration_s=90.0),
    ),
    scene(
        "one machine of six at a third of the pace",
        {Cause.SLOW_REPLICA},
        Site(rigs=(*(Batch(),) * 5, Batch(decode_s=0.036))),
        chats(session_rate=20.0, turns=1, input_len=120, output_len=35, duration_s=45.0),
    ),
    at_machine(
        "tokens by ration",
        {Cause.SLOW_SPELL},
        Machine(tokens_per_s=450.0, step_s=0.015),
        chats(session_rate=7.5, arrival="bursty", turns=1, input_len=100, output_len=45),
    ),
    scene(
        "a busy neighbour, now and then",
        {Cause.SLOW_SPELL},
        Site(rigs=(Batch(pace=lambda at_s: 3.5 if at_s % 25.0 > 20.0 else 1.0),), scrapes=True),
        chats(concurrency=30, input_len=100, output_len=60, duration_s=90.0),
    ),
    scene(
        "slower until it is too slow",
        {Cause.DRIFT, Cause.QUEUEING, Cause.SLOW_SPELL},
        Site(rigs=(Batch(slots=16, pace=leaking),), scrapes=True),
        chats(session_rate=13.0, turns=1, input_len=120, output_len=50, duration_s=80.0),
    ),
    scene(
        "long prompts of one size",
        {Cause.PREFILL},
        Site(rigs=(Batch(prompt_tokens_per_s=100_000),)),
        chats(session_rate=2.5, turns=1, input_len=4_000, output_len=80),
    ),
    at_machine(
        "refused, and tried again",
        {Cause.REFUSALS},
        Machine(refuse_above=9, retry_s=0.25),
        chats(session_rate=15.0, arrival="bursty", turns=1, input_len=100, output_len=25),
    ),
    at_machine(
        "slow name look-ups",
        {Cause.CONNECTION},
        Machine(connect_every=15, connect_s=0.25, step_s=0.02),
        chats(session_rate=12.0, turns=1, input_len=200, output_len=30),
    ),
    at_machine(
        "static batches of sixteen",
        {Cause.STATIC_BATCH},
        Machine(is_static=True, slots=16, step_s=0.02),
        chats(session_rate=1.5, turns=1, input_len=200, duration_s=300.0),
    ),
    at_machine(
        "six tokens at a time, and a freeze",
        {Cause.COALESCING, Cause.STALL},
        Machine(burst=6, freezes=((15.0, 1.2),)),
        chats(session_rate=14.0, turns=1, input_len=100, output_len=48),
    ),
    scene(
        "four machines, sessions at home",
        set(),
        Site(rigs=(Batch(),) * 4, is_sticky=True),
        chats(session_rate=10.0, input_len=80, output_len=30),
    ),
    scene(
        "evicted, not counted",
        {Cause.PREEMPTION, Cause.QUEUEING, Cause.SINGLE, Cause.PREFILL},
        Site(rigs=(Batch(memory_tokens=7_000),)),
        chats(session_rate=8.0, arrival="bursty", turns=1, input_len=250, output_len=130),
    ),
    replace(
        scene(
            "a client that sleeps twice",
            {Cause.CLIENT},
            Site(rigs=(Batch(), Batch())),
            chats(session_rate=14.0, input_len=150, output_len=40, duration_s=50.0),
        ),
        lapses=(Lapse(1.5, 12.0), Lapse(0.8, 33.0)),
    ),
)
