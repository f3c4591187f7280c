"""The engine on a simulated device as a target, in virtual time."""

from __future__ import annotations

import asyncio
import gc
import itertools
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
import pytest
from abatch.engine.config import EngineConfig
from abatch.engine.hosting.virtual_engine import OnOutput, VirtualEngine, build_virtual_engine
from abatch.engine.hosting.virtual_time import VirtualTimeLoop
from abatch.engine.loop.engine import TokenOutput
from abatch.engine.protocol.conversation import ChatMessage
from abatch.engine.request import FinishReason, SamplingParams
from abatch.engine.session import SessionUse
from abatch.reports.recording.recorder import Recorder
from abatch.reports.summary.summary import Summary, fill_summary
from abatch.workloads.load_generator import LoadGenerator
from abatch.workloads.presets.catalog import make_workload
from abatch.workloads.presets.distributions import Constant
from abatch.workloads.presets.scales import Scales
from abatch.workloads.result import Result
from abatch.workloads.run_limits import RunLimits
from abatch.workloads.targets.engine_target import EngineTarget
from abatch.workloads.targets.engine_watch import EngineWatch
from abatch.workloads.targets.target import Call, Reply

_T = TypeVar("_T")


def with_target(use: Callable[[EngineTarget, VirtualEngine], Awaitable[_T]], **fields: Any) -> _T:
    """Run something against an engine on a simulated H100."""

    async def main() -> _T:
        config = EngineConfig(**{"model": "llama-3.1-8b", "device": "simulated:h100", **fields})
        virtual = build_virtual_engine(config)
        async with asyncio.TaskGroup() as tasks:
            stepping = tasks.create_task(virtual.run())
            try:
                return await use(EngineTarget(virtual, config.model), virtual)
            finally:
                stepping.cancel()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main())


_NUMBERS = itertools.count()


def call(text: str, max_tokens: int = 5, session_id: str | None = None) -> Call:
    """A session of its own, unless it says whose it is."""
    return Call([ChatMessage(role="user", content=text)], max_tokens, session_id or f"s{next(_NUMBERS)}")


def replay(
    *,
    concurrency: int,
    limits: RunLimits,
    on_result: Callable[[Result], None],
    workload: str = "mixed",
    scales: Scales | None = None,
    **fields: Any,
) -> Any:
    """A run; the engine's totals over its measured part."""

    async def use(target: EngineTarget, _: VirtualEngine) -> Any:
        generator = LoadGenerator(
            make_workload(workload, scales or Scales()).with_pacing(concurrency=concurrency),
            target,
            limits,
            seed=3,
            sizer=await target.calibrate(),
            on_result=on_result,
        )
        watch = EngineWatch(target, limits)
        watching = asyncio.create_task(watch.run(0.0))
        await generator.run(0.0)
        watching.cancel()
        return await watch.totals()

    return with_target(use, **fields)


def test_a_reply_has_times_counts_and_text_that_the_next_turn_repeats() -> None:
    async def use(target: EngineTarget, _: VirtualEngine) -> tuple[Reply, Reply]:
        first, second = Reply(), Reply()
        question = call("one two three " * 40, max_tokens=20)
        await target.send(question, first)
        answer = ChatMessage(role="assistant", content="".join(first.text))
        again = [*question.messages, answer, ChatMessage(role="user", content="four")]
        await target.send(Call(again, 5, "s"), second)
        return first, second

    first, second = with_target(use)
    assert (first.prompt_tokens, first.output_tokens, first.cached_tokens) == (120, 20, 0)
    assert first.finish_reason == "length"
    assert len(first.gaps_us) == 19
    assert first.sent_s == 0.0
    assert 0.005 < (first.first_s or 0) < 0.01
    assert second.prompt_tokens == 141
    assert second.cached_tokens == 128, "question and answer are in the prefix cache, but for the part of a block"


def test_what_cannot_be_served_is_a_failed_reply() -> None:
    async def use(target: EngineTarget, _: VirtualEngine) -> tuple[Reply, list[Reply]]:
        long, many = Reply(), [Reply() for _ in range(4)]
        await target.send(call("word " * 200), long)
        await asyncio.gather(*(target.send(call("word"), reply) for reply in many))
        return long, many

    long, many = with_target(use, max_model_len=100, max_num_seqs=1, max_queue=2)
    assert long.error == "context_length"
    assert [reply.error for reply in many] == [None, None, None, "queue_full"]


def test_a_call_that_takes_too_long_is_a_failure_as_over_http() -> None:
    async def use(target: EngineTarget, _: VirtualEngine) -> Reply:
        target._timeout_s = 0.5
        reply = Reply()
        await target.send(call("word", max_tokens=10_000), reply)
        await asyncio.sleep(1)
        return reply

    reply = with_target(use)
    assert reply.error == "timeout"
    assert reply.finished_s is None


async def test_a_call_may_be_cut_off_at_the_moment_of_its_end() -> None:
    """Its last token must not find a future that is cancelled already: the whole engine would die of it."""
    sinks = []

    class ScriptedEngine:
        def submit(self, _: list[int], __: SamplingParams, on_output: OnOutput, ___: SessionUse | None) -> str:
            sinks.append(on_output)
            return "1"

        def cancel(self, _: str) -> None:
            pass

    target = EngineTarget(ScriptedEngine(), "m")  # type: ignore[arg-type]
    sending = asyncio.create_task(target.send(call("word"), Reply()))
    await asyncio.sleep(0)
    sending.cancel()
    sinks[0](TokenOutput("1", 70, finish_reason=FinishReason.LENGTH), 1.0)
    with pytest.raises(asyncio.CancelledError):
        await sending


def test_a_call_that_is_cut_off_frees_what_it_held() -> None:
    async def use(target: EngineTarget, virtual: VirtualEngine) -> int:
        reply = Reply()
        try:
            async with asyncio.timeout(1.0):
                await target.send(call("word " * 100, max_tokens=10_000), reply)
        except TimeoutError:
            pass
        assert len(reply.gaps_us) > 50, "what came before still counts"
        await asyncio.sleep(1.0)
        assert not virtual._engine.has_work
        assert not virtual._commands, "each is told of once"
        parking = virtual._engine.scheduler.parking
        return virtual._engine.scheduler.blocks.num_held - parking.num_pinned_blocks

    assert with_target(use) == 0


def test_the_same_seed_is_the_same_run_byte_for_byte() -> None:
    def run() -> tuple[bytes, bytes]:
        results: list[Result] = []
        recorder = Recorder((2.0, 20.0))
        limits = RunLimits(duration_s=20, warmup_s=2, drain_s=3)

        def on_result(result: Result) -> None:
            results.append(result)
            recorder.add(result)

        totals = replay(concurrency=40, limits=limits, on_result=on_result)
        summary = fill_summary(Summary(), recorder, 18.0)
        return msgspec.json.encode(results), msgspec.json.encode(summary) + msgspec.json.encode(totals)

    assert run() == run()


def test_the_batching_modes_differ_as_theory_says() -> None:
    """Static batches wait for each other; synchronous steps are longer by what the host needs; nothing else differs."""
    runs = {}
    for batching in ("window", "continuous", "async"):
        recorder = Recorder((4.0, 24.0))
        limits = RunLimits(duration_s=24, warmup_s=4, drain_s=10)
        totals = replay(
            concurrency=40,
            limits=limits,
            on_result=recorder.add,
            batching=batching,
            host_overhead="2ms",
            workload="agent-tools",
        )
        metrics = fill_summary(Summary(), recorder, 20.0).metrics
        runs[batching] = totals, metrics["ttft"]["all"], metrics["itl"]["all"]
    (_, window_ttft, _), (sync, sync_ttft, sync_itl), (ahead, ahead_ttft, ahead_itl) = runs.values()
    assert window_ttft.p50_ms > 10 * sync_ttft.p50_ms
    assert sync.device_idle_s / (sync.device_idle_s + sync.device_busy_s) > 0.15
    assert ahead.device_idle_s / (ahead.device_idle_s + ahead.device_busy_s) < 0.01
    assert 1.5 < sync_itl.p50_ms - ahead_itl.p50_ms < 2.5
    assert ahead_ttft.p50_ms < sync_ttft.p50_ms


def test_memory_does_not_grow_with_the_length_of_a_run() -> None:
    """What is alive at every hundredth result: blocks of Python's allocator, and bytes of what the collector tracks."""
    alive: list[tuple[int, int]] = []
    num_results = 0

    def on_result(_: Result) -> None:
        nonlocal num_results
        num_results += 1
        if num_results % 100 == 0:
            gc.collect()
            alive.append((sys.getallocatedblocks(), sum(map(sys.getsizeof, gc.get_objects()))))

    gc.freeze()  # what was there before is not looked through each time
    try:
        replay(
            concurrency=4,
            limits=RunLimits(duration_s=120, drain_s=1),
            on_result=on_result,
            num_blocks=150,
            max_model_len=2400,
            scales=Scales(output_tokens=Constant(4), context=0.2, time=0.1),
            workload="agent-tools",
        )
    finally:
        gc.unfreeze()
    assert len(alive) >= 30
    (blocks, num_bytes), (blocks_later, bytes_later) = (
        map(max, zip(*part, strict=True)) for part in (alive[10:20], alive[20:30])
    )
    assert blocks_later - blocks < 300, "one block for each of a thousand results would be a thousand"
    assert bytes_later - num_bytes < 20_000, "at most 20 bytes per result, such as a place in a list"
