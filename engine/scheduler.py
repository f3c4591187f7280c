"""What the device does next: pure decisions over requests and KV blocks, without torch, clock or I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from .admission import make_admission
from .block_manager import BlockManager
from .config import SchedulerConfig
from .errors import ConfigurationError
from .request import Batch, FinishReason, Request, RequestState, ScheduledChunk, check_length


@dataclass(frozen=True, slots=True)
class CommittedToken:
    """A token that became part of its request. `sample_index` is its row among the step's sampled tokens."""

    request: Request
    token_id: int
    sample_index: int


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
        self._admission = make_admission(config)

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
        batch = Batch()
        self._add_decodes(batch)
        newcomers = self._admit(now_s) if batch.num_preempted == 0 else []
        self._add_prefills(batch, newcomers)
        return batch if batch.chunks else None

    def next_step_at_s(self) -> float | None:
        """When `schedule` should be called next: a time gone by means now, None not before a request arrives."""
        if self.running:
            return 0.0
        if not self.waiting:
            return None
        return self._admission.opens_at_s(num_waiting=len(self.waiting), oldest_arrival_s=self.waiting[0].arrival_s)

    def commit(self, batch: Batch, sampled: Sequence[int]) -> list[CommittedToken]:
        """Take in a step's result.

        Args:
            batch: What `schedule` returned.
            sampled: One token id for each chunk of the batch that samples, in order.

        Returns:
            The tokens that count. Those of requests cancelled or preempted since the launch do not. A request that
            a token ended has its `finish_reason` set.
        """
        committed: list[CommittedToken] = []
        sample_index = -1
        for chunk in batch.chunks:
            sample_index += chunk.samples
            request = chunk.request
            if request.epoch != chunk.epoch or request.state is not RequestState.RUNNING:
                continue
            self._register_full_blocks(request, chunk.end)
            if not chunk.samples:
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

    def _add_decodes(self, batch: Batch) -> None:
        index = 0
        while index < len(self.running):  # Grows shorter from its end when a request is preempted.
            request = self.running[index]
            index += 1
            if request.can_decode and not request.is_certain_to_end and self._make_room(request, batch):
                self._add_chunk(batch, request, 1, is_decode=request.num_computed >= request.num_prompt)

    def _make_room(self, request: Request, batch: Batch) -> bool:
        """Get the block for the request's next token; False when that took the request itself."""
        missing = self.blocks.blocks_for(request.num_computed + 1) - len(request.block_ids)
        while missing > 0 and not self.blocks.can_allocate(missing):
            victim = self.running[-1]
            self._preempt(victim)
            batch.num_preempted += 1
            if victim is request:
                return False
        request.block_ids += self.blocks.allocate(missing) if missing > 0 else []
        return True

    def _add_prefills(self, batch: Batch, newcomers: list[Request]) -> None:
        """Share what is left of the token budget: half for the oldest prefill, half for the shortest of the others.

        By arrival alone, one long prompt would hold up every short one behind it; by length alone, the short ones
        would starve the long one. Whoever is oldest always advances, and everyone becomes the oldest.
        """
        under_way = [request for request in self.running if request.num_uncomputed > 1]
        prefills = under_way + [request for request in newcomers if request.num_uncomputed == 1]
        if not prefills:
            return
        oldest, *others = prefills
        budget = self.config.max_num_batched_tokens - batch.num_tokens
        budget_of_others = budget - min(oldest.num_uncomputed, -(-budget // 2))
        for request in sorted(others, key=lambda request: request.num_uncomputed):
            num_tokens = min(budget_of_others, request.num_uncomputed)
            if num_tokens > 0:
                self._add_chunk(batch, request, num_tokens, is_decode=False)
                budget_of_others -= num_tokens
        budget = self.config.max_num_batched_tokens - batch.num_tokens
        if budget > 0:
            self._add_chunk(batch, oldest, min(budget, oldest.num_uncomputed), is_decode=False)

    def _admit(self, now_s: float) -> list[Request]:
        """Let waiting requests join as far as the batching mode and the free blocks allow."""
        newcomers: list[Request] = []
        if not self.waiting:
            return newcomers
        admissible = self._admission.num_admissible(
            num_waiting=len(self.waiting),
            num_running=len(self.running),
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

    def _add_chunk(self, batch: Batch, request: Request, num_tokens: int, *, is_decode: bool) -> None:
        samples = num_tokens == request.num_uncomputed
        batch.add(
            ScheduledChunk(request, request.num_computed, num_tokens, samples, request.epoch), is_decode=is_decode
        )
        request.num_computed += num_tokens
        request.num_in_flight += samples

    def _preempt(self, request: Request) -> None:
        self.running.remove(request)
        self._release_blocks(request)
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
        if request.num_output >= request.sampling.max_tokens:
            return FinishReason.LENGTH
        return None

    def _finish(self, request: Request, reason: FinishReason) -> None:
        self._release_blocks(request)
        request.state = RequestState.FINISHED
        request.finish_reason = reason
        request.num_in_flight = 0

    def _release_blocks(self, request: Request) -> None:
        self.blocks.release(request.block_ids)
        request.block_ids = []
        request.num_registered_blocks = 0
