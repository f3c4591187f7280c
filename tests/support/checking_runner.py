"""A runner that computes nothing and checks everything."""

from __future__ import annotations

from dataclasses import dataclass

from abatch.engine.kv.block_copy import BlockCopy
from abatch.engine.request import Batch, ScheduledChunk
from abatch.engine.runner import StepResult


@dataclass(slots=True)
class LateStep:
    """A step that runs when it is collected: as late as a device could be."""

    runner: CheckingRunner
    work: list[ChunkWork]
    is_recorded: bool = False

    def is_done(self) -> bool:
        return False

    def collect(self) -> StepResult:
        token_ids = self.runner.execute(self)
        return StepResult(token_ids, [], 0.0, 0.0, 0.0)


@dataclass(slots=True)
class LateCopy:
    """A copy that moves nothing before somebody sees it done."""

    runner: CheckingRunner
    copy: BlockCopy
    has_moved: bool = False

    def is_done(self) -> bool:
        if self.runner.copies_arrive and not self.has_moved:
            self.runner.move(self.copy)
            self.has_moved = True
        return self.has_moved

    def duration_s(self) -> float:
        return 1e-6


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
        self._host: dict[int, list[tuple[int, ...] | None]] = {}
        self.copies_arrive = True
        """False: copies under way stay so."""
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

    def copy(self, copy: BlockCopy) -> LateCopy:
        if copy.direction == "restore":
            self._write(copy.device_ids, [[None] * self._block_size] * len(copy.device_ids))
        return LateCopy(self, copy)

    def move(self, copy: BlockCopy) -> None:
        """What is on its way arrives."""
        if copy.direction == "offload":
            self._host |= dict(zip(copy.host_ids, map(self._read, copy.device_ids), strict=True))
        else:
            self._write(copy.device_ids, [self._host[host_id] for host_id in copy.host_ids])

    def _read(self, block_id: int) -> list[tuple[int, ...] | None]:
        return self._memory[block_id * self._block_size : (block_id + 1) * self._block_size]

    def _write(self, block_ids: list[int], contents: list[list[tuple[int, ...] | None]]) -> None:
        touched = {block for step in self._in_flight for work in step.work for block in self._pages(work, 0)}
        assert not touched & set(block_ids), "writes to a page that a step in flight may touch"
        for block_id, content in zip(block_ids, contents, strict=True):
            self._memory[block_id * self._block_size : (block_id + 1) * self._block_size] = content

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
