"""Values by block of time, in bounded memory: what shows how much a run varies."""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Iterable, Sequence

from .coarsen import in_pairs
from .log_buckets import buckets_of

_MOST_BLOCKS = 64
_FIRST_BLOCK_S = 0.25


class TimeBlocks:
    """Counts of values (microseconds) by when they belong to.

    Blocks grow with the run: there are at most 64 of them, and from the moment the run has outgrown 64 short ones at
    least 32. Two runs of equal length have equal blocks.
    """

    __slots__ = ("_blocks", "block_s")

    def __init__(self) -> None:
        self.block_s = _FIRST_BLOCK_S
        self._blocks: list[Counter[int]] = []

    def add(self, at_s: float, values_us: Sequence[int]) -> None:
        """Count values that belong to this time, in seconds since the run began."""
        self._block(max(0.0, at_s)).update(buckets_of(values_us))

    def add_in_turn(self, start_s: float, values_us: Sequence[int]) -> None:
        """Count durations that follow each other, each at the time at which it began."""
        at_s, rest = start_s, values_us
        while rest:
            end_s = (int(max(0.0, at_s) / self.block_s) + 1) * self.block_s
            num_taken, next_s = 0, at_s
            for value_us in rest:
                if next_s >= end_s:
                    break
                next_s += value_us / 1e6
                num_taken += 1
            self.add(at_s, rest[:num_taken])
            at_s, rest = next_s, rest[num_taken:]

    def _block(self, at_s: float) -> Counter[int]:
        while at_s >= _MOST_BLOCKS * self.block_s:
            self._coarsen()
        index = int(at_s / self.block_s)
        while len(self._blocks) <= index:
            self._blocks.append(Counter())
        return self._blocks[index]

    def _coarsen(self) -> None:
        """Blocks of twice the length."""
        self._blocks = in_pairs(self._blocks, operator.add)
        self.block_s *= 2

    def merge(self, other: TimeBlocks) -> None:
        """Add another's counts, of the same run's time."""
        while self.block_s < other.block_s:
            self._coarsen()
        for index, block in enumerate(other._blocks):
            self._block((index + 0.5) * other.block_s).update(block)

    def blocks(self) -> list[Counter[int]]:
        """The blocks in order of time, from the first that has anything in it; counts by bucket (see `bucket_us`)."""
        first = next((index for index, block in enumerate(self._blocks) if block), 0)
        return self._blocks[first:]

    def aligned(self, block_s: float, first: int, length: int) -> list[Counter[int]]:
        """`length` blocks of this length from the block of that number on, in which there may be nothing."""
        blocks = merged([self])
        while blocks.block_s < block_s:
            blocks._coarsen()
        found = blocks._blocks[first : first + length]
        return [*found, *(Counter[int]() for _ in range(length - len(found)))]

    def in_blocks_of(self, block_s: float) -> list[Counter[int]]:
        """Blocks of this length, from the first that has anything in it to the last."""
        start, end = self.span
        scale = self.block_s / block_s
        first = int(start * scale)
        return self.aligned(block_s, first, math.ceil(end * scale) - first)

    @property
    def span(self) -> tuple[int, int]:
        """Numbers of the first block that has anything in it, and of the one after the last."""
        filled = [index for index, block in enumerate(self._blocks) if block]
        return (filled[0], filled[-1] + 1) if filled else (0, 0)


def side_by_side(parts: Sequence[TimeBlocks]) -> list[list[Counter[int]]]:
    """The blocks of several runs over the same time: as many of each, of the same lengths and times."""
    block_s = max((part.block_s for part in parts), default=_FIRST_BLOCK_S)
    spans = [(part.span, part.block_s / block_s) for part in parts]
    first = min((int(start * scale) for (start, end), scale in spans if end), default=0)
    last = max((math.ceil(end * scale) for (_, end), scale in spans), default=0)
    return [part.aligned(block_s, first, last - first) for part in parts]


def merged(parts: Iterable[TimeBlocks]) -> TimeBlocks:
    """All counts of several together; the parts are left as they are."""
    total = TimeBlocks()
    for part in parts:
        total.merge(part)
    return total
