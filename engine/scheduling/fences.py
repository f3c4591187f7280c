"""Slots and blocks of requests that are gone, until no step in flight can touch them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from ..kv.block_manager import BlockManager


class _Fence(NamedTuple):
    """What goes back only when step `step` is committed: until then the device may touch it."""

    step: int
    slot: int
    block_ids: list[int]


class Fences:
    """Hands out slots, and takes them back with their blocks: at once, or when the last step that uses them is over."""

    def __init__(self, blocks: BlockManager, num_slots: int) -> None:
        self.free_slots = list(reversed(range(num_slots)))
        self._blocks = blocks
        self._fences: deque[_Fence] = deque()
        self._last_committed = -1

    def __len__(self) -> int:
        return len(self._fences)

    def __iter__(self) -> Iterator[_Fence]:
        return iter(self._fences)

    def give_back(self, last_step: int, slot: int, block_ids: list[int]) -> None:
        """A request is gone; `last_step` was the last step it was part of."""
        fence = _Fence(last_step, slot, block_ids)
        if last_step > self._last_committed:
            self._fences.append(fence)
        else:
            self._lift(fence)

    def committed(self, step: int) -> None:
        """That step and all before it are over."""
        self._last_committed = step
        while self._fences and self._fences[0].step <= step:
            self._lift(self._fences.popleft())

    def _lift(self, fence: _Fence) -> None:
        self._blocks.release(fence.block_ids)
        self.free_slots.append(fence.slot)
