"""Twelve more scenes at serving sites, written with the first eighteen and kept until the rules had been mended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import takewhile
from random import Random

from abatch.cli.options.traffic import TrafficOptions
from abatch.reports.summary.causes import Cause
from abatch.workloads.arrivals import poisson
from abatch.workloads.session import Session, Turn
from abatch.workloads.watching.client_audit import Lapse
from abatch.workloads.workload import Replay, Stream

from support.site.gateway import Retrying
from support.site.link import Lossy, Outages
from support.site.site import Site
from support.site.worker import Alone, Batch
from support.site_scenes import chats, often, scene


def surge(from_s: float, to_s: float, per_s: float, input_tokens: int, output_tokens: int) -> Stream:
    """Single questions that come besides, for a while."""

    def supply(seed: int, numbers: Iterable[int]) -> Iterator[Session]:
        times = takewhile(lambda at_s: from_s + at_s < to_s, poisson(per_s, Random(f"surge/{seed}")))
        turns = (Turn(input_tokens, output_tokens),)
        for number, at_s in enumerate(times):
            yield Session(f"surge-{number}", "chat", turns, start_s=from_s + at_s)

    return Stream("surge", supply, Replay())


_BUSY = tuple(Lapse(0.09 + 0.05 * (number % 4), 5.0 + 1.7 * number) for number in range(30))

SECOND_SIGHT = (
    scene(
        "pace by context",
        {Cause.SIZE},  # the longer its own context, the slower each of its tokens
        Site(rigs=(Alone(context_token_s=6e-6, token_s=0.008),)),
        TrafficOptions(
            workload="chat-bursty", session_rate=6.0, output_len=40, pause_cap_s=2.0, duration_s=60.0, warmup_s=5.0
        ),
    ),
    scene(
        "answers written whole",
        {Cause.SIZE, Cause.COALESCING},
        Site(rigs=(Alone(whole=True),)),
        chats(session_rate=12.0, input_len=200),
    ),
    replace(
        scene(
            "a surge for nine seconds",
            {Cause.QUEUEING},
            Site(rigs=(Batch(slots=14),), scrapes=True),
            chats(session_rate=9.0, turns=1, input_len=120, output_len=50, duration_s=80.0),
        ),
        besides=(surge(30.0, 39.0, 22.0, 120, 50),),
    ),
    replace(
        scene(
            "compiled when first met",
            {Cause.STALL},
            Site(rigs=(Batch(compile_s=0.4),)),
            chats(session_rate=4.0, turns=1, input_len=120, output_len=50),
        ),
        besides=(surge(25.0, 31.0, 30.0, 120, 50),),
    ),
    replace(
        scene(
            "a client with other things to do",
            {Cause.CLIENT},
            Site(),
            chats(session_rate=15.0, turns=1, input_len=100, output_len=30),
        ),
        lapses=_BUSY,
    ),
    scene(
        "somebody else's requests",
        {Cause.QUEUEING, Cause.SLOW_SPELL, Cause.PREFILL},
        Site(rigs=(Batch(slots=20, streams_at_pace=10),), tenant=(22.0, 32.0, 9.0)),
        chats(session_rate=8.0, turns=1, input_len=150, output_len=40),
    ),
    scene(
        "first tokens that vary by themselves",
        set(),
        Site(rigs=(Alone(spread=0.9),)),
        chats(session_rate=16.0, turns=1, input_len=120, output_len=25),
    ),
    scene(
        "bursts that share the machine",
        {Cause.SLOW_SPELL},  # nobody waits for a place: all get less
        Site(rigs=(Batch(streams_at_pace=8),)),
        chats(session_rate=7.0, arrival="bursty", turns=1, input_len=100, output_len=40, duration_s=90.0),
    ),
    scene(
        "a tenth too much",
        {Cause.DRIFT, Cause.QUEUEING},
        Site(rigs=(Batch(slots=12),), scrapes=True),
        chats(session_rate=19.0, turns=1, input_len=120, output_len=50, duration_s=80.0),
    ),
    scene(
        "refused at once",
        {Cause.REFUSALS},  # those that pass have no tail
        Site(gateway=lambda: Retrying(15.0, 12.0, 0.0, 1)),
        chats(session_rate=10.0, arrival="bursty", turns=1, input_len=120, output_len=30),
    ),
    scene(
        "one connection in five loses much, and collections",
        {Cause.NETWORK, Cause.STALL},
        Site(rigs=(Batch(pauses=often(0.45, 6.0, 60.0)),), link=Lossy(5, 0.03, 0.2)),
        chats(session_rate=12.0, input_len=120, output_len=40),
        Cause.NETWORK,
        Cause.STALL,
    ),
    scene(
        "link down once, contexts that expire",
        {Cause.NETWORK, Cause.COLD_PREFIX, Cause.PREFILL, Cause.QUEUEING},
        Site(rigs=(Batch(prompt_tokens_per_s=30_000),), link=Outages(((50.0, 2.0),)), kept_s=2.6),
        TrafficOptions(
            workload="agent-tools", session_rate=0.6, input_len=300, output_len=30, duration_s=90.0, warmup_s=20.0
        ),
        Cause.COLD_PREFIX,
    ),
)
