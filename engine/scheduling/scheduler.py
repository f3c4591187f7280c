"""What the device does next: pure decisions over requests and KV blocks, without torch, clock or I/O."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ConfigurationError
from ..kv.block_copy import BlockCopy
from ..kv.block_manager import BlockManager
from ..parking.config import ParkingConfig
from ..parking.lot import ParkingLot
from ..request import Batch, CommittedToken, FinishReason, Request, RequestState, ScheduledChunk, check_length
from ..session import EngineSession
from .admission import make_admission
from .fences import Fences
from .limits import SchedulerConfig
from .prefill_shares import PromptTokens, add_prefills, unbounded
from .prefix_holder import PrefixHolder
from .queue_policy import POLICIES, longest_turn
from .waiting_queue import WaitingQueue

_SPARE = 0.05
"""Share of the blocks that parked sessions should leave free beyond what is needed right now."""


class Scheduler:
    """Plans steps and commits their results.

    Requests join in order of arrival, or as `config.policy` says. A step serves them like this:

    * running requests decode first, one token each; prefill chunks share what is left of the token budget, as far as
      they do not hold the decodes up for too long (`add_prefills`);
    * a request joins only when blocks for all its known tokens are there, and holds them from then on, so a prefill
      under way never waits for memory;
    * when a decode needs a block and none is free, the request that joined last is preempted: its blocks go back,
      its tokens stay, and it waits at the head of the queue to be recomputed (mostly from the prefix cache).

    Sessions between two turns are in the parking lot. They give up their blocks to a request that lacks some, before a
    running request would; one whose blocks are in the host tier joins when they have been copied back. A session's
    request that generates for long makes way, now and then, for those that wait for a place.

    The oldest running request can therefore always take what it needs, so something always advances; and because a
    request that could not fit alone is refused on arrival, the head of the queue joins at the latest when the
    device is empty. No deadlock, no starvation.

    A caller may plan a step before it commits the one before (`config.steps_ahead`). Planning then goes by counts:
    a token in flight has a place (`num_in_flight`) but no value yet. What a step in flight may still touch is fenced
    when its owner is gone, and a decode that finds no block while some are about to come back waits a step for them.
    """

    def __init__(self, config: SchedulerConfig, blocks: BlockManager, parking: ParkingConfig | None = None) -> None:
        if blocks.blocks_for(config.max_model_len) > blocks.num_blocks:
            capacity = blocks.num_blocks * blocks.block_size
            raise ConfigurationError(
                f"a request of {config.max_model_len} tokens does not fit the KV memory ({capacity} tokens); "
                f"lower --max-model-len to {capacity} or raise --kv-memory"
            )
        self.config = config
        self.blocks = blocks
        self.parking = ParkingLot(parking or ParkingConfig(), blocks)
        self._prefixes = PrefixHolder(blocks, self.parking)
        self.waiting = WaitingQueue(POLICIES[config.policy]())
        self.restoring: list[Request] = []
        """Those that have joined, and wait for a copy of blocks from the host tier."""
        self.running: list[Request] = []
        self.num_preemptions = 0
        self.num_yields = 0
        """Times a session's request made way for others."""
        self.fences = Fences(blocks, config.num_slots)
        self._num_planned = 0
        self._now_s = 0.0
        self._requests_are_left = False
        """The last plan left requests waiting."""
        self._has_prefill_left = False
        """The last plan left some of a prompt for the next."""
        self._admission = make_admission(config)

    @property
    def has_prefill_left(self) -> bool:
        """True when the next step will probably compute some of a prompt."""
        return self._has_prefill_left or bool(self.waiting)

    @property
    def num_cached_tokens(self) -> int:
        """Tokens that did not have to be computed because the prefix cache or the host tier had them."""
        return self._prefixes.num_cached_tokens

    @property
    def has_work(self) -> bool:
        """True while any accepted request has not ended."""
        return bool(self.waiting or self.running or self.restoring)

    def submit(self, request: Request) -> None:
        """Accept a request.

        Raises:
            ContextLengthError: it has no room for its tokens in the model's context.
            SessionBusyError: another request of its session is under way.
        """
        check_length(request.num_prompt, request.sampling.max_tokens, self.config.max_model_len)
        self._now_s = max(self._now_s, request.arrival_s)
        if request.session is not None:
            request.parked_session = self.parking.begin(request.session.session_id, request, self._now_s)
        self.waiting.add(request)

    def cancel(self, request: Request) -> None:
        """End a request that no client waits for any more. Nothing happens if it has ended already."""
        if request.state is RequestState.FINISHED:
            return
        if request.state is RequestState.WAITING:
            self.waiting.remove(request)
        elif request in self.restoring:
            self.restoring.remove(request)
        else:
            self.running.remove(request)
        self._finish(request, FinishReason.CANCELLED)

    def schedule(self, now_s: float, prompt_tokens: PromptTokens = unbounded) -> Batch | None:
        """Plan the next step, or None when nothing can run now (see `next_step_at_s`).

        Args:
            now_s: Now.
            prompt_tokens: How many tokens of prompts may join its decodes.
        """
        self._now_s = now_s
        self._tick()
        batch = Batch(self._num_planned)
        prefills, num_ending = self._add_decodes(batch)
        if self.waiting and batch.num_preempted == 0:
            prefills += self._admit(num_ending)
        self._requests_are_left = bool(self.waiting)
        if prefills:
            most = prompt_tokens(batch.num_decode_tokens, len(prefills))
            add_prefills(batch, prefills, self.config.max_num_batched_tokens, most)
        self._has_prefill_left = any(request.num_uncomputed > 1 for request in prefills)
        if not batch.chunks:
            return None
        self._num_planned += 1
        batch.num_waiting = len(self.waiting)
        batch.num_blocks_held = self.blocks.num_held
        batch.num_blocks_pinned = self.parking.num_pinned_blocks
        return batch

    def next_step_at_s(self) -> float | None:
        """When `schedule` should be called next: a time gone by means now, None not before a request arrives."""
        if self.running:
            return 0.0
        times = [self.parking.next_event_s()]
        if self.waiting:
            times.append(self._admission.opens_at_s(self.waiting))
        return min((at_s for at_s in times if at_s is not None), default=None)

    def copied(self, copy: BlockCopy, now_s: float) -> None:
        """A copy that the parking lot had ordered is done."""
        self.parking.copied(copy, now_s)
        request = copy.owner
        if isinstance(request, Request) and request in self.restoring and request.epoch == copy.number:
            request.num_registered_blocks += len(copy.device_ids)
            self.restoring.remove(request)
            self.running.append(request)

    def commit(self, batch: Batch, sampled: Sequence[int], now_s: float | None = None) -> list[CommittedToken]:
        """Take in a step's result. Steps are committed in the order they were planned.

        Args:
            batch: What `schedule` returned.
            sampled: One token id for each chunk of the batch that samples, in order.
            now_s: When the result came; by default when the last step was planned.

        Returns:
            The tokens that count. Those of requests that ended or were preempted since the launch do not. A request
            that a token ended has its `finish_reason` set.
        """
        self._now_s = self._now_s if now_s is None else now_s
        self.fences.committed(batch.step)
        block_size = self.blocks.block_size
        committed: list[CommittedToken] = []
        sample_index = -1
        for request, _, end, samples, epoch in batch.chunks:
            sample_index += samples
            if request.epoch != epoch or request.state is not RequestState.RUNNING:
                continue
            if end >= (request.num_registered_blocks + 1) * block_size:
                self._prefixes.register(request, end)
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
            elif request.num_in_flight and request.constraint is not None:
                continue  # what may come next is known once the token in flight is
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
            if self.fences or any(other.is_certain_to_end for other in self.running):
                return False  # blocks come back with the step in flight: no reason to preempt for them
            if self.parking.make_room(self._now_s, self._prefixes.num_running_blocks):
                continue
            if self.parking.is_making_room:
                return False
            victim = self.running[-1]
            self._preempt(victim)
            batch.num_preempted += 1
            if victim is request:
                return False
        request.block_ids += self.blocks.allocate(1)
        return True

    def _tick(self) -> None:
        """Do what is due now, before anything is planned."""
        num_wanted = len(self.running) + int(_SPARE * self.blocks.num_blocks)
        if self.waiting:
            num_wanted += self.blocks.blocks_for(len(self.waiting[0].token_ids))
        self.parking.tick(self._now_s, num_wanted, self._prefixes.num_running_blocks)
        if self.waiting and self._requests_are_left and self.config.batching != "window":
            self._rotate()

    def _rotate(self) -> None:
        """Have a session's request that has generated for long since it joined make way."""
        longest = longest_turn(self.running, self.config.slice_tokens)
        if longest is not None:
            self.num_yields += 1
            self._throw_out(longest)
            self.waiting.add_last(longest)

    def _admit(self, num_ending: int) -> list[Request]:
        """Let waiting requests join as far as the batching mode and the free blocks allow.

        Those that only wait for a last token in flight take no part in the step: their places are free already.
        """
        newcomers: list[Request] = []
        num_running = len(self.running) + len(self.restoring) - num_ending
        admissible = self._admission.num_admissible(self.waiting, num_running, self._now_s)
        for _ in range(admissible):
            request = self.waiting[0]
            # Each running request may need a block soon; without that room the newcomer would be preempted at once.
            num_restored = self._prefixes.take(request, len(self.running) + len(self.restoring), self._now_s)
            if num_restored is None:
                self._admission.blocked()
                break
            self.waiting.pop()
            self._admission.admitted()
            request.slot = self.fences.free_slots.pop()
            request.state = RequestState.RUNNING
            request.slice_start = len(request.token_ids)
            if request.parked_session is not None:
                self.parking.admitted(request.parked_session, request, num_restored, self._now_s)
            if num_restored:
                self.restoring.append(request)
            else:
                self.running.append(request)
                newcomers.append(request)
        return newcomers

    def _preempt(self, request: Request) -> None:
        self.num_preemptions += 1
        self._throw_out(request)
        self.waiting.add_first(request)

    def _throw_out(self, request: Request) -> None:
        self.running.remove(request)
        self._release(request)
        request.state = RequestState.WAITING
        request.num_computed = request.num_in_flight = 0
        request.epoch += 1
        request.num_preemptions += 1

    def _finish_reason(self, request: Request, token_id: int) -> FinishReason | None:
        if token_id in request.sampling.stop_token_ids and request.num_output >= request.sampling.min_tokens:
            return FinishReason.STOP
        if len(request.token_ids) >= request.max_num_tokens:
            return FinishReason.LENGTH
        return None

    def _finish(self, request: Request, reason: FinishReason) -> None:
        request.finish_reason = reason
        if request.parked_session is not None:
            self._step_aside(request, request.parked_session)
        self._release(request)
        request.state = RequestState.FINISHED
        request.num_in_flight = 0

    def _step_aside(self, request: Request, session: EngineSession) -> None:
        """A session's turn is over."""
        request.parked_session = None
        if self.parking.find(session.session_id) is not session:
            return  # it was ended, or another took its name
        if request.session is not None and request.session.ends_session:
            self.parking.end(session.session_id, self._now_s)
        elif request.state is RequestState.WAITING and request.num_preemptions == 0:
            self.parking.withdraw(session, self._now_s)
        else:
            self.parking.park(session, request, self._now_s)

    def _release(self, request: Request) -> None:
        """Give slot and blocks back, if it has any."""
        slot, block_ids = request.slot, request.block_ids
        request.slot, request.block_ids, request.num_registered_blocks = -1, [], 0
        if slot >= 0:
            self.fences.give_back(request.last_step, slot, block_ids)
