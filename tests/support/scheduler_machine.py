"""A scheduler under random load, and what must hold: no page leaks, everyone ends, nobody is overtaken."""

from __future__ import annotations

from collections import Counter
from math import inf

from abatch.engine.kv.block_manager import BlockManager
from abatch.engine.loop.engine import Engine, TokenOutput
from abatch.engine.request import Batch, FinishReason, Request, RequestState, SamplingParams
from abatch.engine.scheduling.limits import Batching, SchedulerConfig
from abatch.engine.scheduling.prefill_shares import PromptTokens, unbounded
from abatch.engine.scheduling.scheduler import Scheduler
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from support.checking_runner import CheckingRunner

_EOS = 7
_ARRIVALS = st.tuples(st.lists(st.integers(0, 1), min_size=1, max_size=20), st.integers(1, 12), st.booleans())
"""Prompt, max_tokens, whether it may stop early."""


class BoundedScheduler(Scheduler):
    """A scheduler whose steps may hold so many tokens of prompts beside decodes, whatever the engine has learnt."""

    most: float = inf
    num_bounded = 0

    def schedule(self, now_s: float, prompt_tokens: PromptTokens = unbounded) -> Batch | None:
        in_prefill = [request for request in self.running if request.num_uncomputed > 1]
        computed = [request.num_computed for request in in_prefill]
        batch = super().schedule(now_s, lambda num_decodes, _: self.most if num_decodes else inf)
        if batch is not None and batch.num_decode_tokens and batch.num_prefill_tokens:
            assert batch.num_prefill_tokens <= self.most
            self.num_bounded += batch.num_prefill_tokens < sum(
                request.num_uncomputed for request in self.running if request.num_uncomputed > 1
            )
        if in_prefill and in_prefill[0].state is RequestState.RUNNING:
            assert in_prefill[0].num_computed > computed[0], "the oldest prompt advances in every step"
        return batch


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
        self.scheduler = BoundedScheduler(config, self.blocks)
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

    @rule(
        elapsed_s=st.sampled_from([0.0, 0.1, 0.6]), count=st.integers(1, 4), most=st.sampled_from([inf, inf, inf, 5, 1])
    )
    def step(self, elapsed_s: float, count: int, most: float) -> None:
        self.scheduler.most = most
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
            self.seen["bounded steps"] += self.scheduler.num_bounded
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
        held.update(block for fence in self.scheduler.fences for block in fence.block_ids)
        for block in range(self.blocks.num_blocks):
            assert self.blocks._ref_counts[block] == held[block] >= 0
        assert self.blocks.num_held == len(held)
        assert all(not request.block_ids for request in self.scheduler.waiting)
        slots = [request.slot for request in self.scheduler.running]
        slots += [fence.slot for fence in self.scheduler.fences] + self.scheduler.fences.free_slots
        assert sorted(slots) == list(range(self.scheduler.config.num_slots))
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
