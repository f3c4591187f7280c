"""When turns are sent, and what becomes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from random import Random
from typing import Any

import pytest
from abatch.engine.errors import ConfigurationError
from abatch.workloads.load_generator import LoadGenerator
from abatch.workloads.result import Result
from abatch.workloads.run_limits import RunLimits
from abatch.workloads.session import Pause, Session, SharedPrefix, Turn
from abatch.workloads.targets.prompts import PromptSizer
from abatch.workloads.targets.target import Call, Reply
from abatch.workloads.workload import ClosedLoop, OpenLoop, Replay, Stream, Workload, drawn, picked
from support.scripted_target import ScriptedTarget, replay, workload
from support.virtual import in_virtual_time


@in_virtual_time
async def test_an_open_loop_sends_on_time_whatever_the_server_does() -> None:
    async def never(_: Call, reply: Reply) -> None:
        await asyncio.sleep(60)

    results, _, _ = await replay(
        workload(OpenLoop(50, "constant")), ScriptedTarget(act=never), duration_s=0.5, drain_s=0.05
    )
    assert len(results) == 25
    assert [result.due_s for result in sorted(results, key=lambda r: r.due_s)] == pytest.approx(
        [index / 50 for index in range(25)]
    )
    assert all(result.censored and result.error is None for result in results)


@in_virtual_time
async def test_censored_requests_are_lower_bounds_from_their_due_time() -> None:
    async def one_chunk(_: Call, reply: Reply) -> None:
        reply.saw_content(asyncio.get_running_loop().time())
        await asyncio.sleep(60)

    results, outcome, _ = await replay(
        workload(OpenLoop(10, "constant")), ScriptedTarget(act=one_chunk), duration_s=0.3, drain_s=0.2
    )
    assert len(results) == 3
    for result in results:
        assert result.e2e_us >= (0.5 - result.due_s) * 1e6
        assert max(result.all_gaps_us()) >= 200_000, "the silence it was left in counts"
        assert result.tpot_us is None
    assert outcome.sending_s == pytest.approx(0.3)
    assert outcome.total_s >= 0.5


@in_virtual_time
async def test_what_is_in_flight_at_the_end_is_drained() -> None:
    results, _, _ = await replay(
        workload(OpenLoop(20, "constant")), ScriptedTarget(service_s=0.3), duration_s=0.4, drain_s=5
    )
    assert len(results) == 8
    assert all(result.finish_reason == "length" and not result.censored for result in results)


@in_virtual_time
async def test_latency_counts_from_due_when_the_generator_is_late() -> None:
    """One request at a time, each 100 ms, arriving every 20 ms: the queue is in the client, and must show."""
    target = ScriptedTarget(service_s=0.1)
    results, _, _ = await replay(
        workload(OpenLoop(50, "constant")), target, duration_s=0.3, drain_s=0.35, max_in_flight=1
    )
    assert target.most_in_flight == 1
    sent = [result for result in results if not result.is_dropped]
    assert len(results) == 15, "every arrival has a result"
    assert 5 <= len(sent) < 15, "those that were due are still sent during the drain"
    last = max(sent, key=lambda result: result.due_s)
    assert last.waited_s > 0.1
    assert last.start_delay_us == 0, "the client sent it as soon as it had a place"
    assert last.ttft_us >= last.waited_s * 1e6
    for result in results:
        assert result.is_unplaced == result.is_dropped
        if result.is_dropped:
            assert result.has_latency
            assert result.censored
            assert result.ttft_us >= (0.6 - result.due_s) * 1e6, "how long it had waited is a lower bound"


@in_virtual_time
async def test_a_closed_loop_keeps_its_number_of_sessions() -> None:
    target = ScriptedTarget(service_s=0.05)
    results, _, generator = await replay(workload(ClosedLoop(3)), target, duration_s=1.6, drain_s=1)
    assert target.most_in_flight == 3
    assert generator.counts.sessions_ended == generator.counts.sessions_started == len(results)
    assert min(result.due_s for result in results) == 0.0
    starts = sorted(
        {result.due_s for result in results if result.due_s in (0.0, pytest.approx(1 / 3), pytest.approx(2 / 3))}
    )
    assert len(starts) == 3, "sessions start spread out"


@in_virtual_time
async def test_turns_wait_for_their_pause_and_carry_the_conversation() -> None:
    target = ScriptedTarget()
    turns = Turn(5, 1), Turn(6, 2, pause=Pause.TOOL, pause_s=0.2), Turn(7, 3, pause=Pause.HUMAN)
    load = workload(ClosedLoop(1), *turns, prefix=SharedPrefix("p", 40))
    results, _, _ = await replay(load, target, duration_s=None, num_sessions=1)
    assert [result.turn_index for result in results] == [0, 1, 2]
    assert results[1].due_s == pytest.approx(results[0].end_s + 0.2)
    assert results[1].sent_s is not None
    assert results[1].sent_s >= results[1].due_s - 1e-3
    assert [result.pause for result in results] == [Pause.NONE, Pause.TOOL, Pause.HUMAN]
    roles = [[message.role for message in call.messages] for call in target.calls]
    assert roles[-1] == ["user", "assistant", "user", "assistant", "user"]
    first = target.calls[0].messages[0].content
    assert isinstance(first, str)
    assert len(first.split()) == 45
    assert target.calls[-1].messages[0].content == first


@in_virtual_time
async def test_the_same_seed_is_the_same_traffic() -> None:
    runs = []
    for _ in range(2):
        target = ScriptedTarget(service_s=0.0)
        await replay(workload(ClosedLoop(2), Turn(9, 1), Turn(9, 1)), target, duration_s=None, num_sessions=4)
        runs.append({call.session_id: [message.content for message in call.messages] for call in target.calls})
    assert runs[0] == runs[1]
    assert len({str(contents) for contents in runs[0].values()}) == 4


@in_virtual_time
async def test_a_failed_turn_is_a_result_and_ends_its_session_only() -> None:
    async def fail(_: Call, reply: Reply) -> None:
        reply.fail("http_500", "boom")

    results, _, generator = await replay(
        workload(ClosedLoop(2), Turn(5, 1), Turn(5, 1)), ScriptedTarget(act=fail), duration_s=None, num_sessions=6
    )
    assert [result.error for result in results] == ["http_500"] * 6
    assert generator.counts.turns_abandoned == 6


@in_virtual_time
async def test_a_bug_in_the_target_surfaces_and_is_no_success() -> None:
    async def bug(_: Call, reply: Reply) -> None:
        raise ZeroDivisionError

    results: list[Result] = []
    generator = LoadGenerator(
        workload(ClosedLoop(1)), ScriptedTarget(act=bug), RunLimits(), seed=0, sizer=PromptSizer(),
        on_result=results.append,
    )  # fmt: skip
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(generator.run(), 5)
    assert [result.error for result in results] == ["internal"]


@in_virtual_time
async def test_a_bug_where_sessions_are_made_surfaces_too() -> None:
    def broken(_: Random, session_id: str) -> Session:
        raise ZeroDivisionError

    load = Workload("test", "", (Stream("test", drawn("test", broken), OpenLoop(10)),))
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(replay(load, ScriptedTarget(), duration_s=60), 5)


@in_virtual_time
async def test_a_slot_that_fails_waits_before_it_tries_again() -> None:
    async def fail(_: Call, reply: Reply) -> None:
        reply.fail("connect", "refused")

    results, _, _ = await replay(workload(ClosedLoop(2)), ScriptedTarget(act=fail), duration_s=2.0)
    assert 4 <= len(results) <= 12


async def test_a_generator_that_cannot_keep_up_still_answers_for_every_arrival() -> None:
    """200,000 a second for 0.05 s: whatever was not sent by the end was due, and is counted."""
    results, _, _ = await replay(
        workload(OpenLoop(200_000, "constant")), ScriptedTarget(service_s=0.0), duration_s=0.05, drain_s=5
    )
    assert len(results) == 10_000
    assert any(result.is_dropped for result in results)


@in_virtual_time
async def test_stopping_while_it_drains_cuts_off_too() -> None:
    async def never(_: Call, reply: Reply) -> None:
        await asyncio.sleep(60)

    results: list[Result] = []
    generator = LoadGenerator(
        workload(OpenLoop(100, "constant")), ScriptedTarget(act=never), RunLimits(duration_s=0.1, drain_s=60),
        seed=0, sizer=PromptSizer(), on_result=results.append,
    )  # fmt: skip
    asyncio.get_running_loop().call_later(0.3, generator.stop)
    outcome = await asyncio.wait_for(generator.run(), 5)
    assert outcome.sending_s == 0.1
    assert len(results) == 10


@in_virtual_time
async def test_the_last_session_is_not_followed_by_a_wait_for_one_more() -> None:
    _, outcome, _ = await asyncio.wait_for(
        replay(workload(OpenLoop(0.1, "constant")), ScriptedTarget(), duration_s=None, num_sessions=1), 5
    )
    assert outcome.sending_s < 1


@in_virtual_time
async def test_stopping_early_cuts_off_and_keeps_everything() -> None:
    async def never(_: Call, reply: Reply) -> None:
        await asyncio.sleep(60)

    results: list[Result] = []
    generator = LoadGenerator(
        workload(OpenLoop(100, "constant")),
        ScriptedTarget(act=never),
        RunLimits(duration_s=60, drain_s=60),
        seed=0,
        sizer=PromptSizer(),
        on_result=results.append,
    )
    asyncio.get_running_loop().call_later(0.2, generator.stop)
    outcome = await asyncio.wait_for(generator.run(), 5)
    assert outcome.sending_s < 5
    assert len(results) >= 10
    assert all(result.censored for result in results)


@in_virtual_time
async def test_warm_up_is_marked_by_due_time() -> None:
    results, _, _ = await replay(
        workload(OpenLoop(20, "constant")), ScriptedTarget(), duration_s=0.5, warmup_s=0.26, drain_s=1
    )
    assert [result.warmup for result in sorted(results, key=lambda r: r.due_s)] == [True] * 6 + [False] * 4


@in_virtual_time
async def test_no_more_sessions_than_asked_for() -> None:
    results, _, _ = await replay(workload(OpenLoop(1000, "poisson")), ScriptedTarget(), duration_s=5, num_sessions=7)
    assert len(results) == 7


@pytest.mark.parametrize(
    ("limits", "mentions"),
    [
        ({"duration_s": 0}, "--duration"),
        ({"num_sessions": 0}, "--num-sessions"),
        ({"duration_s": 5, "warmup_s": 5}, "--warmup"),
        ({"drain_s": -1}, "--drain"),
        ({"drain_s": float("nan")}, "--drain"),
        ({"duration_s": float("nan")}, "--duration"),
        ({"duration_s": 5, "warmup_s": float("nan")}, "--warmup"),
        ({"max_in_flight": 0}, "--max-in-flight"),
    ],
)
def test_limits_that_make_no_sense(limits: dict[str, Any], mentions: str) -> None:
    with pytest.raises(ConfigurationError, match=mentions):
        RunLimits(**limits)


@in_virtual_time
async def test_a_turn_waits_for_pause_gap_tick_and_children() -> None:
    child = Session("child", "sub-agent", (Turn(1, 1), Turn(1, 1, pause=Pause.TOOL, pause_s=0.1)))
    turns = (
        Turn(1, 1),
        Turn(1, 1, gap_s=0.2),
        Turn(1, 1, pause=Pause.TOOL, pause_s=0.05, gap_s=0.01),
        Turn(1, 1, pause=Pause.TOOL, tool="agent", children=(child, child)),
        Turn(1, 1, pause=Pause.HEARTBEAT, tick_s=0.25),
    )
    target = ScriptedTarget(service_s=0.02)
    results, _, generator = await replay(workload(OpenLoop(100), *turns), target, duration_s=None, num_sessions=1)
    mine = [result for result in results if result.traffic_class == "test"]
    theirs = [result for result in results if result.traffic_class == "sub-agent"]
    assert mine[1].due_s == pytest.approx(mine[0].due_s + 0.2)
    assert mine[2].due_s == pytest.approx(mine[1].end_s + 0.05)
    assert generator.counts.sessions_started == generator.counts.sessions_ended == 1, "sub-agents are no sessions"
    assert [result.due_s for result in theirs[:2]] == pytest.approx([mine[2].end_s] * 2), "children run side by side"
    assert mine[3].due_s >= max(result.end_s for result in theirs)
    assert mine[3].pause_s == pytest.approx(mine[3].due_s - mine[2].end_s)
    assert mine[3].pause_s > 0.13
    assert mine[3].tool == "agent"
    assert mine[4].due_s % 0.25 == pytest.approx(0)
    assert [result.is_last for result in mine] == [False] * 4 + [True]
    assert generator.counts.live_sessions == 0
    calls = [call for call in target.calls if call.session_id == mine[0].session_id]
    assert [(call.next_tool, call.ends_session) for call in calls] == [
        (None, False),
        (None, False),
        ("agent", False),
        (None, False),
        (None, True),
    ]


@in_virtual_time
async def test_a_replay_starts_sessions_when_the_trace_does_and_ends_with_it() -> None:
    starts_s = [0.0, 0.1, 0.1, 0.4]
    recorded = [Session(str(index), "test", (Turn(1, 1),), start_s=at_s) for index, at_s in enumerate(starts_s)]

    def supply(_: int, numbers: Iterable[int]) -> Iterator[Session]:
        return picked(recorded, numbers)

    for pacing, expected in ((Replay(), [0.0, 0.1, 0.1, 0.4]), (Replay(2.0), [0.0, 0.05, 0.05, 0.2])):
        load = Workload("test", "", (Stream("test", supply, pacing),))
        results, outcome, _ = await replay(load, ScriptedTarget(), duration_s=60)
        assert [result.due_s for result in results] == pytest.approx(expected)
        assert outcome.total_s < 1
    load = Workload("test", "", (Stream("test", supply, ClosedLoop(3)),))
    results, outcome, _ = await replay(load, ScriptedTarget(), duration_s=60)
    assert len(results) == 4
    assert outcome.total_s < 2
