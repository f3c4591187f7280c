"""A stage for sessions that park and return: every block, second and copy of it is set by the test."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from abatch.engine.kv.block_manager import BlockManager
from abatch.engine.loop.engine import Engine
from abatch.engine.loop.step_log import StepRecord
from abatch.engine.parking.config import ParkingConfig, ParkPolicy
from abatch.engine.request import Request, SamplingParams
from abatch.engine.scheduling.limits import SchedulerConfig
from abatch.engine.scheduling.scheduler import Scheduler
from abatch.engine.session import ParkEvent, ParkingTotals, ParkState, SessionUse

from support.checking_runner import CheckingRunner

every_policy = pytest.mark.parametrize("policy", ["keep", "offload", "drop", "auto"])
A, B, C = range(100, 105), range(200, 205), range(300, 305)
"""Contexts of five blocks."""


class Scene:
    """An engine with blocks of one token, a clock that is set, and copies that arrive when told to."""

    def __init__(
        self, policy: ParkPolicy = "auto", *, blocks: int = 20, host: int = 0, seqs: int = 8, timeout_s: float = 1e6
    ) -> None:
        self.now_s = 1000.0
        self.blocks = BlockManager(blocks, 1)
        config = SchedulerConfig(
            batching="continuous", max_num_seqs=seqs, max_num_batched_tokens=63, max_model_len=blocks
        )
        lot = ParkingConfig(policy=policy, host_num_blocks=host, session_timeout_s=timeout_s, block_bytes=10)
        self.scheduler = Scheduler(config, self.blocks, lot)
        self.parking = self.scheduler.parking
        self.runner = CheckingRunner(blocks, 1)
        self.records: list[StepRecord] = []
        self.engine = Engine(self.scheduler, self.runner, lambda: self.now_s, on_step=self.records.append)
        self.num_requests = 0

    @property
    def totals(self) -> ParkingTotals:
        return self.engine.totals_now().parking

    @property
    def events(self) -> list[ParkEvent]:
        return [event for record in self.records for event in record.parking] + self.parking._account._events

    def actions(self, session_id: str) -> list[str]:
        return [event.action for event in self.events if event.session_id == session_id]

    def submit(
        self,
        session_id: str | None,
        prompt: Iterable[int],
        max_tokens: int = 1,
        *,
        hint_s: float | None = None,
        tool: str | None = None,
        ends: bool = False,
    ) -> Request:
        use = None
        if session_id is not None:
            use = SessionUse(session_id=session_id, expected_pause_s=hint_s, next_tool=tool, ends_session=ends)
        self.num_requests += 1
        request = Request(str(self.num_requests), list(prompt), SamplingParams(max_tokens=max_tokens), session=use)
        self.engine.submit(request)
        return request

    def run(self, *, seconds_a_step: float = 0.0) -> None:
        """Until nobody waits, and what has been ordered is done."""
        for _ in range(100):
            if not self.engine.has_work:
                self.steps(2)
                return
            self.now_s += seconds_a_step
            self.engine.step()
        raise AssertionError("somebody is never served")

    def steps(self, count: int = 1) -> None:
        for _ in range(count):
            self.engine.step()

    def park(
        self, session_id: str, prompt: Iterable[int], *, hint_s: float | None = None, tool: str | None = None
    ) -> Request:
        """A turn of one token, and its session parked. Its prompt is the number of blocks it holds then."""
        request = self.submit(session_id, prompt, hint_s=hint_s, tool=tool)
        self.run()
        return request

    def state(self, session_id: str) -> ParkState | None:
        session = self.parking.find(session_id)
        return session.state if session else None

    def press(self, num_blocks: int) -> Request:
        """Somebody needs so many blocks, and has them for one step. Nobody has said before what is in them."""
        first = 1000 * (self.num_requests + 1)
        request = self.submit(None, range(first, first + num_blocks - 1))
        self.run()
        return request
