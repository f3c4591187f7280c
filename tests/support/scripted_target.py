"""A target that does what a test tells it to, and short workloads to play against it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import Random
from typing import Any

from abatch.workloads.load_generator import LoadGenerator, RunOutcome
from abatch.workloads.result import Result
from abatch.workloads.run_limits import RunLimits
from abatch.workloads.session import Session, SharedPrefix, Turn
from abatch.workloads.targets.prompts import PromptSizer
from abatch.workloads.targets.target import Call, Reply
from abatch.workloads.workload import Pacing, Stream, Workload, drawn


class ScriptedTarget:
    """Answers after a time, or however it is told to."""

    def __init__(self, service_s: float = 0.01, act: Callable[[Call, Reply], Awaitable[None]] | None = None) -> None:
        self.calls: list[Call] = []
        self.most_in_flight = 0
        self._in_flight = 0
        self._service_s = service_s
        self._act = act

    async def send(self, call: Call, reply: Reply) -> None:
        self.calls.append(replace(call, messages=[*call.messages]))
        clock = asyncio.get_running_loop().time
        reply.sent_s = clock()
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            if self._act is not None:
                await self._act(call, reply)
            else:
                await asyncio.sleep(self._service_s)
                reply.saw_content(clock())
                reply.text.append("ok")
                reply.finish_reason, reply.finished_s, reply.output_tokens = "length", clock(), 1
        finally:
            self._in_flight -= 1


def workload(pacing: Pacing, *turns: Turn, prefix: SharedPrefix | None = None) -> Workload:
    def make(_: Random, session_id: str) -> Session:
        return Session(session_id, "test", turns or (Turn(5, 1),), prefix)

    return Workload("test", "", (Stream("test", drawn("test", make), pacing),))


async def replay(
    load: Workload, target: ScriptedTarget, **limits: Any
) -> tuple[list[Result], RunOutcome, LoadGenerator]:
    results: list[Result] = []
    generator = LoadGenerator(load, target, RunLimits(**limits), seed=1, sizer=PromptSizer(), on_result=results.append)
    return results, await generator.run(), generator
