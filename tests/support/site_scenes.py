"""Eighteen scenes at serving sites, written before any rule of attribution was looked at, and scored once.

The truth of each was written down with it. docs/benchmarks.md says how they came out at first sight.
"""

from __future__ import annotations

import math
from dataclasses import replace

from abatch.cli.options.traffic import TrafficOptions
from abatch.reports.summary.causes import Cause

from support.site.gateway import Retrying, Throttle
from support.site.link import Flushing, Lossy, Outages
from support.site.site import Site
from support.site.worker import Alone, Batch
from support.tails import Scene


def scene(name: str, right: set[Cause], site: Site, traffic: TrafficOptions, *needed: Cause) -> Scene:
    """A scene at a site. `right`: all that may be said; `needed`: what must be said, besides."""
    return Scene(name, frozenset(right), site, traffic, needed=frozenset(needed))


def chats(**options: object) -> TrafficOptions:
    """Chats of several turns, or of one; a human thinks for at most three seconds."""
    fields: dict[str, object] = {
        "workload": "chat-short",
        "duration_s": 60.0,
        "warmup_s": 4.0,
        "pause_cap_s": 3.0,
        **options,
    }
    return TrafficOptions(**fields)  # type: ignore[arg-type]


def often(length_s: float, every_s: float, until_s: float) -> tuple[tuple[float, float], ...]:
    """(start, length) of something that happens so often."""
    return tuple((every_s * (number + 0.4), length_s) for number in range(int(until_s / every_s)))


def heating(at_s: float) -> float:
    """Clocks that go down while the machine gets hot."""
    return 1.0 + 2.8 * (1.0 - math.exp(-max(0.0, at_s - 45.0) / 15.0))


FIRST_SIGHT = (
    scene(
        "collections on one machine of three",
        {Cause.STALL, Cause.SLOW_REPLICA},  # one machine stands still: neither a lone stream nor a queue
        Site(rigs=(Batch(), replace(Batch(), pauses=often(0.35, 2.3, 60.0)), Batch())),
        chats(session_rate=12.0, input_len=200, output_len=40),
    ),
    scene(
        "adapters that are loaded first",
        set(),  # there is no name for it: nothing else went on
        Site(rigs=(Alone(),), adapter_every=30, adapter_s=0.6),
        chats(session_rate=20.0, turns=1, input_len=150, output_len=25),
    ),
    scene(
        "near saturation",
        {Cause.QUEUEING},  # it holds for ever at this load
        Site(rigs=(Batch(slots=16),), scrapes=True),
        chats(session_rate=17.5, turns=1, input_len=150, output_len=50, duration_s=120.0),
    ),
    scene(
        "two thirds busy",
        set(),
        Site(rigs=(Batch(slots=64),), scrapes=True),
        chats(concurrency=60, input_len=150, output_len=40),
    ),
    scene(
        "contexts lost twice, not reported",
        {
            Cause.COLD_PREFIX,
            Cause.PREFILL,
            Cause.QUEUEING,
            Cause.SIZE,
        },  # all come back at once, and first turns are long
        Site(rigs=(Batch(prompt_tokens_per_s=9_000),), emptied_s=(35.0, 58.0), reports_cached=False),
        TrafficOptions(workload="agent-tools", concurrency=14, duration_s=80.0, warmup_s=8.0, output_len=30),
    ),
    scene(
        "link down twice",
        {Cause.NETWORK},  # all that was written meanwhile comes at once
        Site(link=Outages(((17.0, 1.3), (39.5, 0.9)))),
        chats(session_rate=18.0, turns=1, input_len=100, output_len=60),
    ),
    scene(
        "a gateway that tries again",
        {Cause.REFUSALS},
        Site(gateway=lambda: Retrying(17.0, 8.0, 0.3, 5)),
        chats(session_rate=10.0, arrival="bursty", turns=1, input_len=120, output_len=30),
    ),
    scene(
        "a gateway that throttles",
        {Cause.QUEUEING, Cause.REFUSALS},  # in line for a permit; a few are sent away
        Site(gateway=lambda: Throttle(16.0, 10.0, 2.5)),
        chats(session_rate=12.0, arrival="bursty", turns=1, input_len=120, output_len=30),
    ),
    replace(
        scene(
            "long prompts stop the decoders",
            {Cause.PREFILL, Cause.QUEUEING},  # short prompts wait for the long one, too
            Site(rigs=(Batch(prompt_tokens_per_s=16_000, prompts_together=1),)),
            TrafficOptions(workload="hol-probe", duration_s=60.0, warmup_s=4.0),
        ),
        verdict_class="decode",
    ),
    scene(
        "a proxy that flushes by a timer",
        {Cause.COALESCING},
        Site(rigs=(Batch(decode_s=0.02),), link=Flushing(0.24)),
        chats(session_rate=7.0, turns=1, input_len=100, output_len=80),
    ),
    scene(
        "clocks that drop for a while",
        {Cause.SLOW_SPELL},
        Site(rigs=(Batch(pace=lambda at_s: 4.0 if at_s % 17.0 > 13.5 else 1.0),)),
        chats(session_rate=8.0, input_len=150, output_len=50, duration_s=75.0),
    ),
    scene(
        "it heats up",
        {Cause.DRIFT, Cause.SLOW_SPELL},
        Site(rigs=(Batch(pace=heating),), scrapes=True),
        chats(concurrency=36, input_len=120, output_len=40, duration_s=90.0),
    ),
    scene(
        "a handshake for each conversation",
        {Cause.CONNECTION},
        Site(handshake_s=0.32),
        chats(session_rate=3.0, turns=12, pause_cap_s=1.5, input_len=80, output_len=20, duration_s=85.0, warmup_s=30.0),
    ),
    scene(
        "evicted, and counted",
        {
            Cause.PREEMPTION,
            Cause.QUEUEING,
            Cause.SINGLE,
            Cause.PREFILL,
        },  # newcomers wait for memory, and come in crowds
        Site(rigs=(Batch(memory_tokens=9_000),), scrapes=True),
        chats(session_rate=9.0, arrival="bursty", turns=1, input_len=300, output_len=120),
    ),
    scene(
        "agents that wake together",
        {Cause.QUEUEING, Cause.PREFILL, Cause.SIZE},
        Site(rigs=(Batch(slots=6, prompt_tokens_per_s=40_000, prompts_together=2),)),
        TrafficOptions(
            workload="always-on",
            concurrency=24,
            synchronised=True,
            pause_cap_s=9.0,
            context_scale=0.15,
            output_len=12,
            duration_s=90.0,
            warmup_s=4.0,
        ),
    ),
    scene(
        "short answers from one machine",
        {Cause.QUEUEING, Cause.PREFILL},  # what waits are prompts, for prompts
        Site(rigs=(Batch(slots=1, prompts_together=1, decode_s=0.004, prompt_tokens_per_s=20_000),)),
        chats(session_rate=16.0, turns=1, input_len=900, output_len=2, duration_s=90.0),
    ),
    scene(
        "a machine slow at prompts, and lost segments",
        {Cause.SLOW_REPLICA, Cause.NETWORK, Cause.PREFILL, Cause.QUEUEING},  # its prompts wait for each other
        Site(
            rigs=(Batch(), Batch(), replace(Batch(), prompt_tokens_per_s=6_000), Batch()),
            is_sticky=True,
            link=Lossy(7, 0.02, 0.25),
        ),
        chats(session_rate=5.0, input_len=700, output_len=40),
        Cause.SLOW_REPLICA,
        Cause.NETWORK,
    ),
    scene(
        "handshakes, and contexts that expire",
        {Cause.CONNECTION, Cause.COLD_PREFIX, Cause.PREFILL, Cause.QUEUEING, Cause.SIZE},  # first turns are long
        Site(rigs=(Batch(prompt_tokens_per_s=10_000),), handshake_s=0.5, kept_s=2.4),
        TrafficOptions(
            workload="agent-tools", concurrency=9, duration_s=120.0, warmup_s=8.0, input_len=300, output_len=20
        ),
        Cause.CONNECTION,
        Cause.COLD_PREFIX,
    ),
)
