"""Steps of many kinds, measured on the device itself: what a profile of it is fitted to."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

from ..integers import ceil_div
from ..request import Batch, Request, SamplingParams, ScheduledChunk
from ..runner import ModelRunner
from ..scheduling.limits import SchedulerConfig
from ..simulation.fit import MeasuredStep
from ..simulation.model_shape import ModelShape
from ..simulation.step_work import work_of

_SHORT, _CONTEXTS = 32, (32, 256, 1024, 4096)
_STARTS = (512, 2048)
"""Positions at which chunks of longer prompts begin."""
_BESIDE = (4, 16, 64)
"""Decodes that prompts run beside."""
_MOST_ROUNDS = 25
_GREEDY = SamplingParams(max_tokens=1, temperature=0.0)


@dataclass(frozen=True, slots=True)
class StepKind:
    """A step of the grid.

    Attributes:
        num_decodes: Sequences that compute one token.
        context: Tokens that each of them has.
        prompts: Tokens of each prompt that is computed in it.
        start: Position at which those begin.
        samples: The prompts end in this step.
    """

    num_decodes: int = 0
    context: int = _SHORT
    prompts: tuple[int, ...] = ()
    start: int = 0
    samples: bool = True

    def __str__(self) -> str:
        parts = []
        if self.prompts:
            count = f"{len(self.prompts)} x " if len(self.prompts) > 1 else ""
            parts.append(f"prompt {count}{self.prompts[0]}" + (f" at {self.start}" if self.start else ""))
        if self.num_decodes:
            parts.append(f"decode {self.num_decodes} at {self.context}")
        return " + ".join(parts) + ("" if self.samples else ", no sample")

    @property
    def num_tokens(self) -> int:
        """Tokens that go through the layers."""
        return self.num_decodes + sum(self.prompts)

    def sequences(self) -> Iterator[tuple[int, int, bool]]:
        """(start, end, samples) of each chunk."""
        for _ in range(self.num_decodes):
            yield self.context - 1, self.context, True
        for tokens in self.prompts:
            yield self.start, self.start + tokens, self.samples


def step_kinds(limits: SchedulerConfig, num_blocks: int, block_size: int) -> list[StepKind]:
    """The grid: every kind that the limits, and the KV blocks there are, have room for."""
    most_tokens, most_seqs = limits.max_num_batched_tokens, limits.max_num_seqs
    counts = [*_powers(most_seqs - 1), most_seqs]
    sizes = [*(size for size in _powers(most_tokens - 1) if size >= 4), most_tokens]
    found = [StepKind(count, context) for count in counts for context in _CONTEXTS]
    found += [StepKind(prompts=(size,)) for size in sizes]
    found += [StepKind(prompts=(size,), start=start) for size in (64, most_tokens) for start in _STARTS]
    found += [StepKind(prompts=(size,), start=_STARTS[0], samples=False) for size in (64, most_tokens)]
    found += [StepKind(prompts=(_SHORT,) * (most_tokens // _SHORT // 2))]
    for count in _BESIDE:
        found += [StepKind(count, 256, prompts=(size,)) for size in (16, 64, most_tokens - count)]

    def has_room(kind: StepKind) -> bool:
        sequences = list(kind.sequences())
        blocks = sum(ceil_div(end, block_size) for _, end, _ in sequences)
        return (
            0 < kind.num_tokens <= most_tokens
            and len(sequences) <= most_seqs
            and min(end - start for start, end, _ in sequences) > 0
            and max(end for _, end, _ in sequences) < limits.max_model_len
            and blocks <= num_blocks
        )

    return [kind for kind in dict.fromkeys(found) if has_room(kind)]


def _powers(most: int) -> list[int]:
    """Powers of two up to `most`."""
    return [1 << power for power in range(most.bit_length())]


@dataclass(slots=True)
class StepGrid:
    """Measures the kinds in turns, so that what else the machine does meets all of them alike.

    Each step runs behind another of its kind, as it would in the loop that launches ahead: the device need not wait for
    its launch. The first round warms up.

    Attributes:
        runner: The device. Its KV is written over.
        vocab_size: Tokens are drawn from so many.
        shape: Of the model.
        block_size: Tokens per KV block.
        kinds: What is measured.
        budget_s: No step begins later than that, once each kind has been measured.
    """

    runner: ModelRunner
    vocab_size: int
    shape: ModelShape
    block_size: int
    kinds: list[StepKind]
    budget_s: float
    clock: Callable[[], float] = time.monotonic
    _seconds: dict[StepKind, list[float]] = field(default_factory=dict)
    _random: Random = field(default_factory=lambda: Random(0))

    def run(self, on_round: Callable[[int, float], None] = lambda number, elapsed_s: None) -> list[MeasuredStep]:
        """The median of each kind.

        Args:
            on_round: Called after each round with its number, from 0 (the one that warms up), and the seconds so far.
        """
        began_s = self.clock()
        batches = {kind: self._batch(kind) for kind in self.kinds}
        self._seconds = {kind: [] for kind in self.kinds}
        for number in range(_MOST_ROUNDS + 1):
            for kind, batch in batches.items():
                seconds = self._step_s(batch)
                if number:
                    self._seconds[kind].append(seconds)
                if number > 1 and self.clock() - began_s > self.budget_s:
                    break
            elapsed_s = self.clock() - began_s
            on_round(number, elapsed_s)
            if number and elapsed_s > self.budget_s:
                break
        return [
            MeasuredStep(str(kind), work_of(batch, self.shape), statistics.median(self._seconds[kind]))
            for kind, batch in batches.items()
        ]

    def _step_s(self, batch: Batch) -> float:
        if self.runner.is_synchronous:
            result = self.runner.launch(batch).collect()
        else:
            first, second = self.runner.launch(batch), self.runner.launch(batch)
            first.collect()
            result = second.collect()
        return result.device_end_s - result.device_start_s

    def _batch(self, kind: StepKind) -> Batch:
        chunks: list[ScheduledChunk] = []
        num_blocks = 0
        for slot, (start, end, samples) in enumerate(kind.sequences()):
            tokens = [self._random.randrange(self.vocab_size) for _ in range(end)]
            request = Request(f"{kind} {slot}", tokens, _GREEDY, slot=slot)
            request.block_ids = list(range(num_blocks, num_blocks + ceil_div(end, self.block_size)))
            num_blocks += len(request.block_ids)
            chunks.append(ScheduledChunk(request, start, end, samples, 0))
        return Batch(chunks=chunks, num_tokens=kind.num_tokens, num_decode_tokens=kind.num_decodes)
