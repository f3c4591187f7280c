"""What must hold whatever arrives, is cancelled or runs out: no page leaks, everyone ends, nobody starves."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest
from abatch.engine.block_manager import BlockManager
from abatch.engine.config import BATCHING_MODES, Batching, SchedulerConfig
from abatch.engine.engine import Engine, TokenOutput
from abatch.engine.request import Batch, FinishReason, Request, RequestState, SamplingParams, ScheduledChunk
from abatch.engine.runner import StepResult
from abatch.engine.scheduler import Scheduler
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

_EOS = 7
_ARRIVALS = st.tuples(st.lists(st.integers(0, 1), min_size=1, max_size=20), st.integers(1, 12), st.booleans())
"""Prompt, max_tokens, whether it may stop early."""


@dataclass(slots=True)
class LateStep:
    """A step that runs when it is collected: as late as a device could be."""

    runner: CheckingRunner
    work: list[ChunkWork]

    def is_done(self) -> bool:
        return False

    def collect(self) -> StepResult:
        token_ids = self.runner.execute(self)
        return StepResult(token_ids, [], 0.0, 0.0)


@dataclass(slots=True)
class ChunkWork:
    """A chunk as the device got it: nothing in it changes when the host's view does."""

    chunk: ScheduledChunk
    known_ids: list[int]
    slot: int
    block_ids: list[int]

    @property
    def owner(self) -> tuple[str, int]:
        return self.chunk.request.request_id, self.chunk.epoch


class CheckingRunner:
    """Computes nothing, but keeps track of what KV memory would hold, and checks that it is what a request needs.

    A token's KV depends on all tokens before it, so what a page slot holds is described by the whole prefix. Steps
    run in the order of their launch, each as late as it can; no page and no slot of one that is still to run may be
    given to anybody else.
    """

    is_synchronous = False

    def __init__(self, num_blocks: int, block_size: int) -> None:
        self._block_size = block_size
        self._memory: list[tuple[int, ...] | None] = [None] * (num_blocks * block_size)
        self._last_tokens: dict[int, int] = {}
        self._in_flight: list[LateStep] = []
        self.largest_batch = 0
        self.most_seqs = 0
        self.next_token = 0

    def launch(self, batch: Batch) -> LateStep:
        self.largest_batch = max(self.largest_batch, batch.num_tokens)
        self.most_seqs = max(self.most_seqs, len(batch.chunks))
        work = [
            ChunkWork(
                chunk,
                chunk.request.token_ids[chunk.start : chunk.end],
                chunk.request.slot,
                list(chunk.request.block_ids),
            )
            for chunk in batch.chunks
        ]
        self._check_nothing_is_taken_from_steps_in_flight(work)
        step = LateStep(self, work)
        self._in_flight.append(step)
        return step

    def execute(self, step: LateStep) -> list[int]:
        assert self._in_flight.pop(0) is step, "collected out of order"
        sampled = []
        for work in step.work:
            chunk, ids = work.chunk, list(work.known_ids)
            if len(ids) < chunk.num_tokens:
                ids.append(self._last_tokens[work.slot])
            assert len(ids) == chunk.num_tokens, "only the last token can be in flight"
            for position, token in zip(range(chunk.start, chunk.end), ids, strict=True):
                before = self._memory[self._at(work, position - 1)] if position else ()
                assert before is not None
                self._memory[self._at(work, position)] = (*before, token)
            if chunk.samples:
                self.next_token = (self.next_token * 5 + 3) % 11
                self._last_tokens[work.slot] = self.next_token
                sampled.append(self.next_token)
        for work in step.work:
            self._check_kv(work)
        return sampled

    def _check_kv(self, work: ChunkWork) -> None:
        chunk, request = work.chunk, work.chunk.request
        if chunk.epoch != request.epoch or len(request.token_ids) < chunk.end:
            return  # preempted or cancelled since: what the device computes for it no longer means anything
        for position in range(chunk.end):
            expected = tuple(request.token_ids[: position + 1])
            assert self._memory[self._at(work, position)] == expected, "attends to wrong KV"

    def _check_nothing_is_taken_from_steps_in_flight(self, work: list[ChunkWork]) -> None:
        for theirs in (theirs for step in self._in_flight for theirs in step.work):
            for ours in work:
                if ours.owner != theirs.owner:
                    written = self._pages(ours, ours.chunk.start)
                    assert not written & self._pages(theirs, 0), "writes to a page that a step in flight may touch"
                    assert ours.slot != theirs.slot, "has the slot of a request whose step is in flight"

    def _pages(self, work: ChunkWork, start: int) -> set[int]:
        return {work.block_ids[position // self._block_size] for position in range(start, work.chunk.end)}

    def _at(self, work: ChunkWork, position: int) -> int:
        return work.block_ids[position // self._block_size] * self._block_size + position % self._block_size


class SchedulerMachine(RuleBasedStateMachine):
    """Random arrivals, cancellations and steps under a random configuration."""

    batching: Batching
    seen: Counter[str]
    """What happened over all examples: a test of rare events must have seen them."""

    @initialize(
        block_size=st.sampled_from([1, 2, 4]),
        num_blocks=st.integers(10, 24),
        max_num_seqs=st.integers(2, 6),
        extra_budget=st.integers(0, 20),
        prefix_cache=st.booleans(),
    )
    def start(
        self,
        block_size: int,
        num_blocks: int,
        max_num_seqs: int,
        extra_budget: int,
        prefix_cache: bool,
    ) -> None:
        self.now_s = 0.0
        self.num_submitted = 0
        self.live: dict[str, Request] = {}
        self.ends: Counter[str] = Counter()
        self.blocks = BlockManager(num_blocks, block_size, prefix_cache=prefix_cache)
        config = SchedulerConfig(
            batching=self.batching,
            max_num_seqs=max_num_seqs,
            max_num_batched_tokens=max_num_seqs + extra_budget,
            max_model_len=min(num_blocks * block_size, 30),
            window_size=3,
            window_timeout_s=0.5,
        )
        self.scheduler = Scheduler(config, self.blocks)
        self.runner = CheckingRunner(num_blocks, block_size)
        self.engine = Engine(self.scheduler, self.runner, lambda: self.now_s)

    @rule(arrivals=st.lists(_ARRIVALS, min_size=1, max_size=4))
    def submit(self, arrivals: list[tuple[list[int], int, bool]]) -> None:
        for prompt, max_tokens, stops in arrivals:
            max_tokens = min(max_tokens, self.scheduler.config.max_model_len - len(prompt))
            if max_tokens < 1:
                continue
            self.num_submitted += 1
            stop_ids = frozenset([_EOS]) if stops else frozenset[int]()
            sampling = SamplingParams(max_tokens=max_tokens, stop_token_ids=stop_ids)
            request = Request(str(self.num_submitted), list(prompt), sampling)
            self.engine.submit(request)
            self.live[request.request_id] = request

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        request_id = data.draw(st.sampled_from(sorted(self.live)))
        output = self.engine.cancel(request_id)
        assert output is not None
        self.take([output])

    @rule(elapsed_s=st.sampled_from([0.0, 0.1, 0.6]), count=st.integers(1, 4))
    def step(self, elapsed_s: float, count: int) -> None:
        for _ in range(count):
            self.now_s += elapsed_s
            self.take(self.engine.step())

    @rule()
    def everyone_ends(self) -> None:
        """With no more arrivals, all requests end in a bounded number of steps; in order of arrival none is skipped."""
        work = sum(request.num_prompt + 2 * request.sampling.max_tokens for request in self.live.values())
        for _ in range(20 + 10 * work):
            if not self.engine.has_work:
                break
            idle_s = self.engine.idle_s()
            assert idle_s is not None
            self.now_s += idle_s
            self.take(self.engine.step())
        assert not self.engine.has_work
        assert not self.live

    def teardown(self) -> None:
        if hasattr(self, "scheduler"):
            self.seen["preemptions"] += self.scheduler.num_preemptions
            self.seen["cached tokens"] += self.scheduler.num_cached_tokens

    def take(self, outputs: list[TokenOutput]) -> None:
        for output in outputs:
            assert output.request_id in self.live, "output of a request that has ended"
            if output.finish_reason is not None:
                request = self.live.pop(output.request_id)
                self.ends[output.request_id] += 1
                if output.finish_reason is FinishReason.LENGTH:
                    assert request.num_output == request.sampling.max_tokens
                elif output.finish_reason is FinishReason.STOP:
                    assert request.token_ids[-1] == _EOS
                self.seen[output.finish_reason] += 1

    @invariant()
    def pages_are_accounted_for(self) -> None:
        if not hasattr(self, "blocks"):
            return
        held = Counter(block for request in self.scheduler.running for block in request.block_ids)
        held.update(block for fence in self.scheduler._fences for block in fence.block_ids)
        for block in range(self.blocks.num_blocks):
            assert self.blocks.ref_count(block) == held[block] >= 0
        assert self.blocks.num_held == len(held)
        assert all(not request.block_ids for request in self.scheduler.waiting)
        slots = [request.slot for request in self.scheduler.running]
        slots += [fence.slot for fence in self.scheduler._fences] + self.scheduler._free_slots
        assert sorted(slots) == list(range(self.scheduler.num_slots))
        if not self.engine.has_work:
            assert self.blocks.num_held == 0, "nothing stays fenced"

    @invariant()
    def everyone_is_somewhere_once(self) -> None:
        if not hasattr(self, "blocks"):
            return
        assert set(self.ends.values()) <= {1}
        places = [*self.scheduler.waiting, *self.scheduler.running]
        assert sorted(request.request_id for request in places) == sorted(self.live)
        assert all(request.state is not RequestState.FINISHED for request in places)

    @invariant()
    def limits_hold(self) -> None:
        if not hasattr(self, "blocks"):
            return
        assert self.runner.most_seqs <= self.scheduler.config.max_num_seqs
        assert self.runner.largest_batch <= self.scheduler.config.max_num_batched_tokens

    @invariant()
    def requests_join_in_order_of_arrival(self) -> None:
        """Whoever waits arrived after everyone who runs: nobody is overtaken."""
        if not hasattr(self, "blocks"):
            return
        running = [int(request.request_id) for request in self.scheduler.running]
        waiting = [int(request.request_id) for request in self.scheduler.waiting]
        assert running + waiting == sorted(running + waiting)


@pytest.mark.parametrize("batching", BATCHING_MODES)
def test_scheduler(batching: Batching) -> None:
    seen: Counter[str] = Counter()
    machine = type("Machine", (SchedulerMachine,), {"batching": batching, "seen": seen})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=400,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
    events = ("preemptions", "cached tokens", FinishReason.STOP, FinishReason.LENGTH, FinishReason.CANCELLED)
    assert all(seen[event] > 20 for event in events), seen
