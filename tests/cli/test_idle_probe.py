"""The probe before a run: what it sends, what it finds, and that it never ends a run."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from abatch.cli.measuring.idle_probe import IdleProbe, Sizes, busy_with, idle_model, sizes_of, time_limit_s
from abatch.cli.options.recipe import make_traffic
from abatch.cli.options.traffic import TrafficOptions
from abatch.engine.null_server.behaviour import Behaviour
from abatch.workloads.targets.http_target import HttpTarget
from abatch.workloads.targets.prompts import PromptSizer
from abatch.workloads.targets.target import Call, Reply
from support.behaving_target import BehavingTarget
from support.fake_server import Behaviour as FakeBehaviour
from support.fake_server import fake_server
from support.scripted_target import ScriptedTarget
from support.virtual import in_virtual_time

_SIZES = Sizes([20, 200, 2000], 2000, 300)
_KNOWN = Behaviour(ttft_s=0.05, prefill_tokens_per_s=20_000.0, itl_s=0.01)


def _probe(target: BehavingTarget | ScriptedTarget, *, limit_s: float = 5.0, sizes: Sizes = _SIZES) -> IdleProbe:
    return IdleProbe(target, PromptSizer(is_measured=True), sizes, 8, limit_s, "salt")


@in_virtual_time
async def test_the_model_is_what_the_server_does() -> None:
    found = await _probe(BehavingTarget(_KNOWN)).run()
    assert found is not None
    assert found.requests == 8
    assert found.is_probed
    for tokens in (20, 110, 1500, 2000):
        assert found.ttft_ms(tokens) == pytest.approx(50 + tokens / 20, rel=0.02)
    assert found.ttft_ms(4000) >= 250.0, "beyond what was probed rather too much: no slowdown is made up"
    assert found.itl_ms(1000, 100) == pytest.approx(10.0, rel=0.02)


@in_virtual_time
async def test_a_moment_at_which_the_server_stood_still_is_not_the_price_of_the_work() -> None:
    found = await _probe(BehavingTarget(replace(_KNOWN, freeze_at_s=0.2, freeze_for_s=1.0))).run()
    assert found is not None
    for tokens in (20, 200, 2000):
        assert found.ttft_ms(tokens) == pytest.approx(50 + tokens / 20, rel=0.02)
    assert found.spread > 1


@pytest.mark.parametrize("tokens_per_chunk", [1, 8])
def test_answers_are_short_and_longer_where_tokens_come_in_one_piece(tokens_per_chunk: int) -> None:
    asked: list[int] = []

    class Counting(BehavingTarget):
        async def send(self, call: Call, reply: Reply) -> None:
            asked.append(call.max_tokens)
            await super().send(call, reply)

    @in_virtual_time
    async def run() -> None:
        found = await _probe(Counting(replace(_KNOWN, tokens_per_chunk=tokens_per_chunk))).run()
        assert found is not None
        assert found.itl_base_ms == pytest.approx(10.0 / tokens_per_chunk, rel=0.2)

    run()
    assert asked == ([5] * 8 if tokens_per_chunk == 1 else [5, *[20] * 7])


@in_virtual_time
async def test_a_slow_server_is_asked_three_times() -> None:
    target = BehavingTarget(replace(_KNOWN, ttft_s=0.4))
    begun_s = asyncio.get_running_loop().time()
    found = await _probe(target, limit_s=0.5).run()
    assert found is not None
    assert found.requests == 3
    assert asyncio.get_running_loop().time() - begun_s < 1.5
    assert found.largest_prompt == 2000, "what was too long to be probed is known to be there"


@in_virtual_time
async def test_a_prompt_that_would_take_too_long_is_cut_down_rather_than_left_out() -> None:
    """Else a slow server's price of a token would be unknown, and its long prompts would look slow."""
    target = BehavingTarget(replace(_KNOWN, ttft_s=0.1, prefill_tokens_per_s=500.0))
    found = await _probe(target, limit_s=2.0, sizes=Sizes([20, 20_000], 20_000, 300)).run()
    assert found is not None
    first, second = found.points
    assert first.prompt_tokens == 20
    assert 512 < second.prompt_tokens < 2000
    for tokens in (400, 1000, 20_000):
        assert found.ttft_ms(tokens) == pytest.approx(100 + 2 * tokens, rel=0.1)


@in_virtual_time
async def test_what_never_ends_ends_the_probe() -> None:
    async def hang(_: Call, __: Reply) -> None:
        await asyncio.sleep(1000)

    probe = _probe(ScriptedTarget(act=hang))
    assert await probe.run() is None
    assert "within 30 s" in probe.problem


@in_virtual_time
async def test_a_server_that_fails_is_no_failure_of_the_probe() -> None:
    async def fail(_: Call, reply: Reply) -> None:
        reply.fail("http_500", "out of memory")

    probe = _probe(ScriptedTarget(act=fail))
    assert await probe.run() is None
    assert "failed at 20 prompt tokens (http_500: out of memory)" in probe.problem


@in_virtual_time
async def test_a_prompt_that_the_server_refuses_is_left_out() -> None:
    class Small(BehavingTarget):
        async def send(self, call: Call, reply: Reply) -> None:
            if len(str(call.messages[0].content).split()) > 1000:
                return reply.fail("http_400", "too long")
            return await super().send(call, reply)

    probe = _probe(Small(_KNOWN))
    found = await probe.run()
    assert found is not None
    assert probe.problem == ""
    assert [point.prompt_tokens for point in found.points] == [20.0, 200.0]
    assert found.ttft_ms(2000) >= 150.0


def test_sizes_are_those_of_the_traffic() -> None:
    sizes = sizes_of(make_traffic(TrafficOptions(workload="hol-probe")))
    assert sizes is not None
    assert [sizes.prompts[0], sizes.prompts[-1]] == [64, 8000]
    assert len(sizes.prompts) == 4
    assert (sizes.largest_prompt, sizes.largest_output) == (8000, 512)
    same = sizes_of(make_traffic(TrafficOptions(workload="chat-short", input_len=50, turns=1)))
    assert same is not None
    assert same.prompts == [50], "one size is one size"


def test_a_short_run_has_a_short_probe() -> None:
    assert time_limit_s(2.0) == pytest.approx(0.2)
    assert time_limit_s(3600.0) == time_limit_s(None) == 5.0


async def _connected(url: str) -> HttpTarget:
    return await HttpTarget.connect(url, model="fake", api_key=None, headers={}, timeout_s=60.0)


_METRICS = b"vllm:num_requests_running 3\nvllm:num_requests_waiting 1\n"


@pytest.mark.parametrize(("metrics", "num_busy"), [(_METRICS, 4), (b"vllm:num_requests_running 0\n", 0), (None, 0)])
async def test_a_server_that_is_busy_before_the_run_is_not_called_idle(metrics: bytes | None, num_busy: int) -> None:
    behaviour = FakeBehaviour(metrics=metrics)
    traffic = make_traffic(TrafficOptions(workload="chat-short", duration_s=60.0))
    async with fake_server(behaviour) as url:
        target = await _connected(url)
        try:
            assert await busy_with(target, None) == num_busy
            found, note = await idle_model(target, PromptSizer(), traffic, 4)
        finally:
            await target.close()
    assert (found is None) == bool(num_busy)
    assert ("4 requests before the run" in note) == bool(num_busy)
    assert len(behaviour.bodies) == (0 if num_busy else 4)
