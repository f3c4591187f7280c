"""A run that ends after a number of requests."""

from __future__ import annotations

import asyncio

import pytest
from abatch.workloads.load_generator import LoadGenerator
from abatch.workloads.result import Result
from abatch.workloads.run_limits import RunLimits
from abatch.workloads.session import Pause, Session, Turn
from abatch.workloads.share import Share
from abatch.workloads.targets.prompts import PromptSizer
from abatch.workloads.workload import ClosedLoop, OpenLoop, Pacing
from support.scripted_target import ScriptedTarget, replay, workload
from support.virtual import in_virtual_time

_TURNS = (Turn(4, 2), Turn(4, 2, pause=Pause.TOOL, pause_s=300.0), Turn(4, 2))


@pytest.mark.parametrize(
    ("pacing", "number"),
    [(OpenLoop(50, "constant"), 7), (ClosedLoop(4), 4), (ClosedLoop(4), 6), (ClosedLoop(2), 31)],
    ids=["open loop", "first turns alone", "some of the second", "many sessions"],
)
@in_virtual_time
async def test_exactly_so_many_are_sent_and_all_are_answered(pacing: Pacing, number: int) -> None:
    results, outcome, _ = await replay(
        workload(pacing, *_TURNS), ScriptedTarget(service_s=0.2), duration_s=None, num_requests=number, drain_s=0.0
    )
    assert len(results) == number
    assert not any(result.censored or result.error for result in results)
    assert outcome.sending_s == pytest.approx(max(result.end_s for result in results), abs=0.01), "and no longer"


@in_virtual_time
async def test_nobody_waits_out_a_pause_once_all_are_sent() -> None:
    _, outcome, _ = await replay(
        workload(ClosedLoop(3), *_TURNS), ScriptedTarget(service_s=0.2), duration_s=None, num_requests=3
    )
    assert outcome.total_s < 2.0


@in_virtual_time
async def test_requests_of_sub_agents_count() -> None:
    child = Session("child", "agent", (Turn(4, 2), Turn(4, 2)))
    turns = (Turn(4, 2), Turn(4, 2, children=(child, child)))
    results, _, _ = await replay(
        workload(ClosedLoop(1), *turns), ScriptedTarget(service_s=0.2), duration_s=None, num_requests=4
    )
    assert len(results) == 4


@in_virtual_time
async def test_the_time_may_be_over_before() -> None:
    results, _, _ = await replay(
        workload(OpenLoop(10, "constant")), ScriptedTarget(), duration_s=0.5, num_requests=100, drain_s=5
    )
    assert len(results) == 5


@pytest.mark.parametrize("pacing", [OpenLoop(50, "constant"), ClosedLoop(2)], ids=["open loop", "closed loop"])
@in_virtual_time
async def test_several_processes_send_so_many_together(pacing: Pacing) -> None:
    """In a closed loop of two sessions, a third process has none, and must not have requests to send."""
    results: list[Result] = []
    limits = RunLimits(duration_s=None, num_requests=11, drain_s=0.0)
    generators = [
        LoadGenerator(
            workload(pacing, Turn(4, 2)),
            ScriptedTarget(service_s=0.2),
            limits,
            seed=0,
            sizer=PromptSizer(),
            on_result=results.append,
            share=Share(index, 3),
        )
        for index in range(3)
    ]
    await asyncio.wait_for(asyncio.gather(*(one.run() for one in generators)), 60)
    assert len(results) == 11


def test_no_more_sessions_start_than_there_are_requests() -> None:
    assert RunLimits(num_requests=5, num_sessions=9).most_sessions == 5
    assert RunLimits(num_sessions=9).most_sessions == 9
    assert RunLimits().most_sessions is None
