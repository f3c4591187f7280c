"""What must hold whatever arrives, is cancelled or runs out: no page leaks, everyone ends, nobody starves."""

from __future__ import annotations

from collections import Counter

from abatch.engine.block_manager import BlockManager
from abatch.engine.config import SchedulerConfig
from abatch.engine.engine import Engine, TokenOutput
from abatch.engine.request import Batch, FinishReason, Request, RequestState, SamplingParams
from abatch.engine.runner import StepResult
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

_EOS = 7


class FakeStep:
    """A finished step."""

    def __init__(self, token_ids: list[int]) -> None:
        self._token_ids = token_ids

    def collect(self) -> StepResult:
        return StepResult(self._token_ids, [None] * len(self._token_ids))


class CheckingRunner:
    """Computes nothing, but keeps track of what KV memory would hold, and checks that it is what a request needs.

    A token's KV depends on all tokens before it, so what a page slot holds is described by the whole prefix.
    """

    def __init__(self, num_blocks: int, block_size: int) -> None:
        self._block_size = block_size
        self._memory: list[tuple[int, ...] | None] = [None] * (num_blocks * block_size)
        self.largest_batch = 0
        self.next_token = 0

    def launch(self, batch: Batch) -> FakeStep:
        self.largest_batch = max(self.largest_batch, batch.num_tokens)
        sampled = []
        for chunk in batch.chunks:
            request = chunk.request
            tokens = tuple(request.token_ids)
            for position in range(chunk.start, chunk.end):
                self._memory[self._slot(request, position)] = tokens[: position + 1]
            if chunk.samples:
                self.next_token = (self.next_token * 5 + 3) % 11
                sampled.append(self.next_token)
        for chunk in batch.chunks:
            for position in range(chunk.end):
                expected = tuple(chunk.request.token_ids[: position + 1])
                assert self._memory[self._slot(chunk.request, position)] == expected, "attends to wrong KV"
        return FakeStep(sampled)

    def _slot(self, request: Request, position: int) -> int:
        return request.block_ids[position // self._block_size] * self._block_size + position % self._block_size


class SchedulerMachine(RuleBasedStateMachine):
    """Random arrivals, cancellations and steps under a random configuration."""

    @initialize(
        block_size=st.sampled_from([1, 2, 4]),
        num_blocks=st.integers(12, 40),
        max_num_seqs=st.integers(1, 6),
        extra_budget=st.integers(0, 20),
        batching=st.sampled_from(["window", "continuous"]),
        prefix_cache=st.booleans(),
    )
    def start(
        self,
        block_size: int,
        num_blocks: int,
        max_num_seqs: int,
        extra_budget: int,
        batching: str,
        prefix_cache: bool,
    ) -> None:
        self.now_s = 0.0
        self.num_submitted = 0
        self.live: dict[str, Request] = {}
        self.ends: Counter[str] = Counter()
        self.blocks = BlockManager(num_blocks, block_size, prefix_cache=prefix_cache)
        config = SchedulerConfig(
            batching=batching,  # type: ignore[arg-type]
            max_num_seqs=max_num_seqs,
            max_num_batched_tokens=max_num_seqs + extra_budget,
            max_model_len=min(num_blocks * block_size, 30),
            window_size=3,
            window_timeout_s=0.5,
        )
        from abatch.engine.scheduler import Scheduler

        self.scheduler = Scheduler(config, self.blocks)
        self.runner = CheckingRunner(num_blocks, block_size)
        self.engine = Engine(self.scheduler, self.runner, lambda: self.now_s)

    @rule(
        prompt=st.lists(st.integers(0, 1), min_size=1, max_size=20), max_tokens=st.integers(1, 9), stops=st.booleans()
    )
    def submit(self, prompt: list[int], max_tokens: int, stops: bool) -> None:
        max_tokens = min(max_tokens, self.scheduler.config.max_model_len - len(prompt))
        if max_tokens < 1:
            return
        self.num_submitted += 1
        stop_ids = frozenset([_EOS]) if stops else frozenset[int]()
        sampling = SamplingParams(max_tokens=max_tokens, stop_token_ids=stop_ids)
        request = Request(str(self.num_submitted), prompt, sampling)
        self.engine.submit(request)
        self.live[request.request_id] = request

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        request_id = data.draw(st.sampled_from(sorted(self.live)))
        output = self.engine.cancel(request_id)
        assert output is not None
        self.take([output])

    @rule(elapsed_s=st.sampled_from([0.0, 0.1, 0.6]))
    def step(self, elapsed_s: float) -> None:
        self.now_s += elapsed_s
        self.take(self.engine.step())

    @rule()
    def everyone_ends(self) -> None:
        """With no more arrivals, all requests end in a bounded number of steps; in order of arrival none is skipped."""
        work = sum(len(request.prompt_ids) + 2 * request.sampling.max_tokens for request in self.live.values())
        for _ in range(20 + 10 * work):
            if not self.engine.has_work:
                break
            idle_s = self.engine.idle_s()
            assert idle_s is not None
            self.now_s += idle_s
            self.take(self.engine.step())
        assert not self.engine.has_work
        assert not self.live

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

    @invariant()
    def pages_are_accounted_for(self) -> None:
        if not hasattr(self, "blocks"):
            return
        held = Counter(block for request in self.scheduler.running for block in request.block_ids)
        for block in range(self.blocks.num_blocks):
            assert self.blocks.ref_count(block) == held[block] >= 0
        assert self.blocks.num_held == len(held)
        assert all(not request.block_ids for request in self.scheduler.waiting)

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
        assert len(self.scheduler.running) <= self.scheduler.config.max_num_seqs
        assert self.runner.largest_batch <= self.scheduler.config.max_num_batched_tokens

    @invariant()
    def requests_join_in_order_of_arrival(self) -> None:
        """Whoever waits arrived after everyone who runs: nobody is overtaken."""
        if not hasattr(self, "blocks"):
            return
        running = [int(request.request_id) for request in self.scheduler.running]
        waiting = [int(request.request_id) for request in self.scheduler.waiting]
        assert running + waiting == sorted(running + waiting)


TestScheduler = SchedulerMachine.TestCase
TestScheduler.settings = settings(
    max_examples=120,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
