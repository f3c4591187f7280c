"""An engine in a process of its own and one in virtual time: they count alike, and refuse alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from abatch.engine.config import EngineConfig
from abatch.engine.errors import ContextLengthError, QueueFullError, RequestError, SessionBusyError
from abatch.engine.hosting.engine_client import EngineClient
from abatch.engine.hosting.pending import PendingRequests
from abatch.engine.hosting.virtual_engine import VirtualEngine, build_virtual_engine
from abatch.engine.hosting.virtual_time import VirtualTimeLoop
from abatch.engine.loop.engine import TokenOutput
from abatch.engine.loop.stats import EngineStats
from abatch.engine.parking.config import ParkPolicy
from abatch.engine.request import SamplingParams
from abatch.engine.session import SessionUse

_PROMPT = tuple(range(100, 200))
_SAMPLING = SamplingParams(max_tokens=12)
_SESSION = SessionUse(session_id="s")


def config(park: ParkPolicy = "keep") -> EngineConfig:
    return EngineConfig(model="llama-3.1-8b", device="simulated:h100", park=park, max_num_seqs=2, max_queue=1)


@asynccontextmanager
async def stepping(virtual: VirtualEngine) -> AsyncIterator[VirtualEngine]:
    task = asyncio.create_task(virtual.run())
    try:
        yield virtual
    finally:
        task.cancel()


async def turn(virtual: VirtualEngine) -> None:
    """A turn of the session, to its end."""
    ended = asyncio.get_running_loop().create_future()

    def on_output(output: TokenOutput, _: float) -> None:
        if output.finish_reason is not None:
            ended.set_result(None)

    virtual.submit([*_PROMPT], _SAMPLING, on_output, _SESSION)
    await ended


def virtual_stats(park: ParkPolicy) -> EngineStats:
    """Of an engine that has had one turn of a session, ten seconds later."""

    async def main() -> EngineStats:
        seen: list[EngineStats] = []
        async with stepping(build_virtual_engine(config(park))) as virtual:
            await turn(virtual)
            await asyncio.sleep(10.0)
            virtual.observe(lambda stats, _: seen.append(stats), asyncio.get_running_loop().time(), 1.0)
            virtual.end_observation()
        return seen[-1]

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main())


async def process_stats(park: ParkPolicy, parked: tuple[int, int, int]) -> EngineStats:
    """Of an engine in its own process that has had the same turn, once what is parked is as given."""
    client = await EngineClient.start(config(park))
    try:
        async for _ in client.generate([*_PROMPT], _SAMPLING, _SESSION):
            pass
        async with asyncio.timeout(30):
            while client.stats.parked != parked:  # noqa: ASYNC110  # a copy to the host takes a moment
                await asyncio.sleep(0.01)
        return client.stats
    finally:
        await client.close()


@pytest.mark.parametrize("park", ["keep", "offload"])
def test_after_the_same_turn_both_report_the_same_state(park: ParkPolicy) -> None:
    expected = virtual_stats(park)
    assert expected.num_parked == 1
    assert (expected.num_blocks_pinned > 0) == (park == "keep")
    assert (expected.num_host_blocks_held > 0) == (park == "offload")
    assert expected.num_blocks_cached > 0
    stats = asyncio.run(process_stats(park, expected.parked))
    assert msgspec.structs.replace(stats, totals=expected.totals) == expected
    ours, theirs = stats.totals, expected.totals
    assert (ours.num_prefill_tokens, ours.num_decode_tokens) == (theirs.num_prefill_tokens, theirs.num_decode_tokens)
    assert ours.parking.num_parked == theirs.parking.num_parked == 1
    assert ours.parking.offloaded_bytes == theirs.parking.offloaded_bytes
    assert theirs.parking.parked_block_s > 0


async def test_both_refuse_alike() -> None:
    client, virtual = await EngineClient.start(config()), build_virtual_engine(config())
    longest = client.ready.max_model_len
    busy = SessionUse(session_id="busy")
    try:
        generating = client.generate([*_PROMPT], SamplingParams(max_tokens=5000), busy)
        await anext(generating)
        virtual.submit([*_PROMPT], SamplingParams(max_tokens=5000), lambda _, __: None, busy)
        for prompt, sampling, session, kind in [
            ([], _SAMPLING, None, ContextLengthError),
            ([1] * longest, _SAMPLING, None, ContextLengthError),
            ([*_PROMPT], _SAMPLING, busy, SessionBusyError),
        ]:
            with pytest.raises(kind) as ours:
                client.check(prompt, sampling, session)
            with pytest.raises(kind) as theirs:
                virtual.submit(prompt, sampling, lambda _, __: None, session)
            assert str(ours.value) == str(theirs.value)
        await generating.aclose()
        client.check([*_PROMPT], _SAMPLING, busy)
    finally:
        await client.close()
    for _ in range(2):
        virtual.submit([*_PROMPT], _SAMPLING, lambda _, __: None)
    with pytest.raises(QueueFullError, match="3 requests are pending"):
        virtual.submit([*_PROMPT], _SAMPLING, lambda _, __: None)


def test_what_is_pending_is_limited_and_keeps_its_session() -> None:
    pending = PendingRequests(build_virtual_engine(config()).ready, max_queue=1)
    with pytest.raises(RequestError, match="4 answers at once"):
        pending.check(10, _SAMPLING, num_requests=4)
    pending.check(10, _SAMPLING, num_requests=3)
    pending.add("1", _SESSION)
    with pytest.raises(QueueFullError, match="1 requests are pending"):
        pending.check(10, _SAMPLING, num_requests=3)
    pending.free_session("1")
    pending.check(10, _SAMPLING, _SESSION)
    pending.add("2", _SESSION)
    pending.remove("1")  # it no longer has the session, which another keeps busy now
    assert len(pending) == 1
    with pytest.raises(SessionBusyError):
        pending.check(10, _SAMPLING, _SESSION)
    pending.remove("2")
    pending.check(10, _SAMPLING, _SESSION)
    assert len(pending) == 0


async def test_a_reader_that_was_slow_gets_what_it_missed_in_pieces() -> None:
    """All at once, a minute's worth of tokens would be turned into text while every other stream waits."""
    client = await EngineClient.start(EngineConfig(model="llama-3.1-8b", device="simulated:1ms"))
    try:
        generating = client.generate([*_PROMPT], SamplingParams(max_tokens=200))
        batches = [await anext(generating)]
        async with asyncio.timeout(30):
            while client.stats.num_running or not client.stats.totals.num_decode_tokens:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        batches += [batch async for batch in generating]
    finally:
        await client.close()
    assert sum(map(len, batches)) == 200
    assert max(map(len, batches)) <= 64
