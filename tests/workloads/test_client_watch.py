"""What holds the load generator up is seen, with its time."""

from __future__ import annotations

import asyncio
import gc
import time

import pytest
from abatch.workloads.watching.client_audit import ClientAudit, Lapse, merge_audits
from abatch.workloads.watching.client_watch import ClientWatch

_AT_THE_END = 1
"""A beat due exactly at the end may fall on either side of it: times are sums of binary fractions."""


async def _watched(start_s: float, end_s: float, *blocks: tuple[float, float]) -> ClientAudit:
    """A watch over that part of a run, whose loop is blocked at (time, length)."""
    loop = asyncio.get_running_loop()
    origin_s = loop.time() + 0.01
    for at_s, length_s in blocks:
        loop.call_at(origin_s + at_s, time.sleep, length_s)
    watch = ClientWatch()
    await watch.run(start_s, end_s, origin_s)
    return watch.audit()


async def test_a_block_is_one_lapse_of_its_length_at_its_time() -> None:
    audit = await _watched(0.0, 0.6, (0.2, 0.15))
    (block,) = [lapse for lapse in audit.lapses if lapse.start_s <= 0.25 <= lapse.start_s + lapse.length_s]
    assert block.length_s >= 0.1
    assert any(beat == pytest.approx(block.length_s * 1e6, rel=0.02) for beat in audit.beats_us)
    assert audit.elapsed_s >= 0.55
    assert sum(audit.beats_us.values()) <= 60 + _AT_THE_END, "a beat that was slept through counts once"


async def test_what_comes_before_the_measured_part_is_not_seen() -> None:
    audit = await _watched(0.3, 0.5, (0.05, 0.15))
    assert all(lapse.start_s >= 0.29 for lapse in audit.lapses)
    assert sum(audit.beats_us.values()) <= 20 + _AT_THE_END


async def test_garbage_collections_are_counted_while_it_watches_only() -> None:
    loop = asyncio.get_running_loop()
    before = list(gc.callbacks)
    watch = ClientWatch()
    running = asyncio.create_task(watch.run(0.0, None, loop.time()))
    await asyncio.sleep(0.05)
    gc.collect()
    gc.collect()
    await asyncio.sleep(0.02)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert gc.callbacks == before
    gc.collect()
    audit = watch.audit()
    assert audit.gc_pauses >= 2
    assert 0 < audit.gc_longest_s <= audit.gc_total_s
    assert audit.cpu_s >= 0


def test_a_watch_that_never_began_saw_nothing() -> None:
    assert ClientWatch().audit() == ClientAudit()


def test_several_processes_are_judged_by_the_busiest_and_by_all_beats() -> None:
    one = ClientAudit(
        beats_us={100: 5},
        lapses=[Lapse(0.1, 1.0)],
        gc_pauses=1,
        gc_total_s=0.1,
        gc_longest_s=0.1,
        cpu_s=1,
        elapsed_s=10,
    )
    other = ClientAudit(
        beats_us={100: 2, 300: 1},
        lapses=[Lapse(0.2, 3.0)],
        gc_pauses=2,
        gc_total_s=0.3,
        gc_longest_s=0.2,
        cpu_s=9,
        elapsed_s=10,
    )
    both = merge_audits([one, other])
    assert both.beats_us == {100: 7, 300: 1}
    assert both.lapses == [Lapse(0.2, 3.0), Lapse(0.1, 1.0)]
    assert (both.gc_pauses, both.gc_total_s, both.gc_longest_s) == (3, 0.3, 0.2)
    assert both.cpu_s / both.elapsed_s == 0.9
