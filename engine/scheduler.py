"""What the device does next: pure decisions over requests and KV blocks, without torch, clock or I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from .admission import make_admission
from .block_manager import BlockManager
from .config import EngineConfig, SchedulerConfig
from .errors import ConfigurationError
from .request import Batch, FinishReason, Request, RequestState, ScheduledChunk, check_length


class CommittedToken(NamedTuple):
    """A token that became part of its request. `sample_index` is its row among the step's sampled tokens."""

    request: Request
    token_id: int
    sample_index: int


class _Fence(NamedTuple):
    """What goes back to the free lists only when step `step` is committed: until then the device may touch it."""

    step: int
    slot: int
    block_ids: list[int]


class Scheduler:
    """Plans steps and commits their results.

    Requests join in order of arrival. A step serves them so:

    * running requests decode first, one token each; prefill chunks share what is left of the token budget
      (`_add_prefills`);
    * a request joins only when blocks for all its known tokens are there, and holds them from then on, so a prefill
      under way never waits for memory;
    * when a decode needs a block and none is free, the request that joined last is preempted: its blocks go back,
      its tokens stay, and it waits at the head of the queue to be recomputed (mostly from the prefix cache).

    The oldest running request can therefore always take what it needs, so something always advances; and because a
    request that could not fit alone is refused on arrival, the head of the queue joins at the latest when the
    device is empty. No deadlock, no starvation.

    A caller may plan a step before it commits the one before (`config.steps_ahead`). Planning then goes by counts:
    a token in flight has a place (`num_in_flight`) but no value yet. What a step in flight may still touch is fenced
    when its owner is gone, and a decode that finds no block while some are about to come back waits a step for them.
    """

    def __init__(self, config: SchedulerConfig, blocks: BlockManager) -> None:
        if blocks.blocks_for(config.max_model_len) > blocks.num_blocks:
            capacity = blocks.num_blocks * blocks.block_size
            raise ConfigurationError(
                f"a request of {config.max_model_len} tokens does not fit the KV memory ({capacity} tokens); "
                f"lower --max-model-len to {capacity} or raise --kv-memory"
            )
        self.config = config
        self.blocks = blocks
        self.waiting: deque[Request] = deque()
        self.running: list[Request] = []
        self.num_preemptions = 0
        self.num_cached_tokens = 0
        """Tokens that did not have to be computed because the prefix cache had them."""
        # Twice the sequences of a step: those that have ended keep theirs while their last step is in flight.
        self._free_slots = list(reversed(range(self.num_slots)))
        self._fences: deque[_Fence] = deque()
        self._num_planned = 0
        self._last_committed = -1
        self._admission = make_admission(config)

    @classmethod
    def build(cls, config: EngineConfig, num_blocks: int, *, max_position: int | None, on_cpu: bool) -> Scheduler:
        """The scheduler of an engine with so many KV blocks, for a model of so many positions (None: any number).

        Raises:
            ConfigurationError: the limits go together neither with each other nor with the model.
        """
        capacity = num_blocks * config.block_size
        max_model_len = config.max_model_len or min(max_position or capacity, capacity)
        if max_position is not None and max_model_len > max_position:
            raise ConfigurationError(
                f"--max-model-len {max_model_len} is over the {max_position} positions this model knows"
            )
        blocks = BlockManager(num_blocks, config.block_size, prefix_cache=config.prefix_cache)
        return cls(config.scheduler_config(max_model_len=max_model_len, on_cpu=on_cpu), blocks)

    @property
    def num_slots(self) -> int:
        """Rows of per-sequence state that a runner needs."""
        return (1 + self.config.steps_ahead) * self.config.max_num_seqs

    @property
    def has_work(self) -> bool:
        """True while any accepted request has not ended."""
        return bool(self.waiting or self.running)

    def submit(self, request: Request) -> None:
        """Accept a request.

        Raises:
            ContextLengthError: it has no room for its tokens in the model's context.
        """
        check_length(request.num_prompt, request.sampling.max_tokens, self.config.max_model_len)
        self.waiting.append(request)

    def cancel(self, request: Request) -> None:
        """End a request that nobody waits for any more. Nothing happens if it has ended already."""
        if request.state is RequestState.FINISHED:
            return
        if request.state is RequestState.WAITING:
            self.waiting.remove(request)
        else:
            self.running.remove(request)
        self._finish(request, FinishReason.CANCELLED)

    def schedule(self, now_s: float) -> Batch | None:
        """Plan the next step, or None when nothing can run now (see `next_step_at_s`)."""
        batch = Batch(self._num_planned)
        prefills, num_ending = self._add_decodes(batch)
        if self.waiting and batch.num_preempted == 0:
            prefills += self._admit(now_s, num_ending)
        if prefills:
            self._add_prefills(batch, prefills)
        if not batch.chunks:
            return None
        self._num_planned += 1
        batch.num_waiting = len(self.waiting)
        batch.num_blocks_held = self.blocks.num_held
        return batch

    def next_step_at_s(self) -> float | None:
        """When `schedule` should be called next: a time gone by means now, None not before a request arrives."""
        if self.running:
            return 0.0
        if not self.waiting:
            return None
        return self._admission.opens_at_s(num_waiting=len(self.waiting), oldest_arrival_s=self.waiting[0].arrival_s)

    def commit(self, batch: Batch, sampled: Sequence[int]) -> list[CommittedToken]:
        """Take in a step's result. Steps are committed in the order they were planned.

        Args:
            batch: What `schedule` returned.
            sampled: One token id for each chunk of the batch that samples, in order.

        Returns:
            The tokens that count. Those of requests that ended or were preempted since the launch do not. A request
            that a token ended has its `finish_reason` set.
        """
        self._lift_fences(batch.step)
        block_size = self.blocks.block_size
        committed: list[CommittedToken] = []
        sample_index = -1
        for request, _, end, samples, epoch in batch.chunks:
            sample_index += samples
            if request.epoch != epoch or request.state is not RequestState.RUNNING:
                continue
            if end >= (request.num_registered_blocks + 1) * block_size:
                self._register_full_blocks(request, end)
            if not samples:
                continue
            token_id = sampled[sample_index]
            request.num_in_flight -= 1
            request.token_ids.append(token_id)
            committed.append(CommittedToken(request, token_id, sample_index))
            reason = self._finish_reason(request, token_id)
            if reason is not None:
                self.running.remove(request)
                self._finish(request, reason)
        return committed

    def _add_decodes(self, batch: Batch) -> tuple[list[Request], int]:
        """A token for every request in decode.

        Returns:
            The requests whose prefill is under way, and how many only wait for a last token in flight: for those,
            certain to end by max_tokens, another step would be thrown away.
        """
        prefills: list[Request] = []
        num_ending = 0
        running, chunks, block_size, step = self.running, batch.chunks, self.blocks.block_size, batch.step
        index = 0
        # This runs for every token of every step, so it spells out what Request's properties say.
        while index < len(running):  # Grows shorter from its end when a request is preempted.
            request = running[index]
            index += 1
            start = request.num_computed
            num_tokens = len(request.token_ids) + request.num_in_flight
            if num_tokens >= request.max_num_tokens:
                num_ending += 1
            elif num_tokens - start > 1:
                prefills.append(request)
            elif start < len(request.block_ids) * block_size or self._make_room(request, batch):
                chunks.append(ScheduledChunk(request, start, num_tokens, True, request.epoch))
                request.num_computed = num_tokens
                request.num_in_flight += 1
                request.last_step = step
        batch.num_tokens = batch.num_decode_tokens = len(chunks)
        return prefills, num_ending

    def _make_room(self, request: Request, batch: Batch) -> bool:
        """Get the block for the request's next token; False when that must wait a step, or took the request itself."""
        while not self.blocks.can_allocate(1):
            if self._fences or any(other.is_certain_to_end for other in self.running):
                return False  # blocks come back with the step in flight: no reason to preempt for them
            victim = self.running[-1]
            self._preempt(victim)
            batch.num_preempted += 1
            if victim is request:
                return False
        request.block_ids += self.blocks.allocate(1)
        return True

    def _add_prefills(self, batch: Batch, prefills: list[Request]) -> None:
        """Share what is left of the token budget: half for the oldest prefill, half for the shortest of the others.

        By arrival alone, one long prompt would hold up every short one behind it; by length alone, the short ones
        would starve the long one. Whoever is oldest always advances, and everyone becomes the oldest.
        """
        oldest, *others = prefills
        budget = self.config.max_num_batched_tokens - batch.num_tokens
        budget_of_others = budget - min(oldest.num_uncomputed, -(-budget // 2))
        for request in sorted(others, key=lambda request: request.num_uncomputed):
            num_tokens = min(budget_of_others, request.num_uncomputed)
            if num_tokens > 0:
                self._add_chunk(batch, request, num_tokens)
                budget_of_others -= num_tokens
        budget = self.config.max_num_batched_tokens - batch.num_tokens
        if budget > 0:
            self._add_chunk(batch, oldest, min(budget, oldest.num_uncomputed))

    def _admit(self, now_s: float, num_ending: int) -> list[Request]:
        """Let waiting requests join as far as the batching mode and the free blocks allow.

        Those that only wait for a last token in flight take no part in the step: their places are free already.
        """
        newcomers: list[Request] = []
        admissible = self._admission.num_admissible(
            num_waiting=len(self.waiting),
            num_running=len(self.running) - num_ending,
            oldest_arrival_s=self.waiting[0].arrival_s,
            now_s=now_s,
        )
        for _ in range(admissible):
            request = self.waiting[0]
            if not self._take_blocks(request):
                self._admission.blocked()
                break
            self.waiting.popleft()
            self._admission.admitted()
            request.slot = self._free_slots.pop()
            request.state = RequestState.RUNNING
            self.running.append(request)
            newcomers.append(request)
        return newcomers

    def _take_blocks(self, request: Request) -> bool:
        """Hold blocks for all known tokens, starting from the cached prefix; False when too few are free."""
        known = len(request.token_ids)
        self.blocks.extend_hashes(request.block_hashes, request.token_ids, known)
        # At least one token must be computed, or there would be no logits to sample from.
        matched = self.blocks.match(request.block_hashes[: (known - 1) // self.blocks.block_size])
        num_new = self.blocks.blocks_for(known) - len(matched)
        # Each running request may need a block soon; without that room the newcomer would be preempted at once.
        if not self.blocks.can_allocate(num_new, matched, reserve=len(self.running)):
            return False
        self.blocks.acquire(matched)
        request.block_ids = matched + self.blocks.allocate(num_new)
        request.num_registered_blocks = len(matched)
        request.num_computed = len(matched) * self.blocks.block_size
        self.num_cached_tokens += request.num_computed
        if request.num_preemptions == 0:
            request.num_cached_tokens = request.num_computed
        return True

    def _add_chunk(self, batch: Batch, request: Request, num_tokens: int) -> None:
        start = request.num_computed
        end = start + num_tokens
        samples = end == request.num_tokens
        batch.chunks.append(ScheduledChunk(request, start, end, samples, request.epoch))
        batch.num_tokens += num_tokens
        request.num_computed = end
        request.num_in_flight += samples
        request.last_step = batch.step

    def _preempt(self, request: Request) -> None:
        self.running.remove(request)
        self._release(request)
        request.state = RequestState.WAITING
        request.num_computed = request.num_in_flight = 0
        request.epoch += 1
        request.num_preemptions += 1
        self.num_preemptions += 1
        self.waiting.appendleft(request)

    def _register_full_blocks(self, request: Request, num_computed: int) -> None:
        num_full = num_computed // self.blocks.block_size
        if num_full > request.num_registered_blocks:
            self.blocks.extend_hashes(request.block_hashes, request.token_ids, num_computed)
            for index in range(request.num_registered_blocks, num_full):
                self.blocks.register(request.block_ids[index], request.block_hashes[index])
            request.num_registered_blocks = num_full

    def _finish_reason(self, request: Request, token_id: int) -> FinishReason | None:
        if token_id in request.sampling.stop_token_ids and request.num_output >= request.sampling.min_tokens:
            return FinishReason.STOP
        if len(request.token_ids) >= request.max_num_tokens:
            return FinishReason.LENGTH
        return None

    def _finish(self, request: Request, reason: FinishReason) -> None:
        self._release(request)
        request.state = RequestState.FINISHED
        request.finish_reason = reason
        request.num_in_flight = 0

    def _release(self, request: Request) -> None:
        """Give slot and blocks back: now, or behind a fence if a step that uses them is in flight."""
        fence = _Fence(request.last_step, request.slot, request.block_ids)
        request.slot, request.block_ids, request.num_registered_blocks = -1, [], 0
        if fence.slot < 0:
            return  # it was not running
        if fence.step > self._last_committed:
            self._fences.append(fence)
        else:
            self._lift(fence)

    def _lift_fences(self, step: int) -> None:
        self._last_committed = step
        while self._fences and self._fences[0].step <= step:
            self._lift(self._fences.popleft())

    def _lift(self, fence: _Fence) -> None:
        self.blocks.release(fence.block_ids)
        self._free_slots.append(fence.slot)
