"""A fair sample of a stream, in bounded memory."""

from __future__ import annotations

from random import Random
from typing import Generic, TypeVar

_Item = TypeVar("_Item")


class Reservoir(Generic[_Item]):
    """Everything until there is too much, then each with equal chance (Vitter, 1985, algorithm R).

    Attributes:
        kept: The sample.
        seen: How many were offered.
    """

    __slots__ = ("_most", "_random", "kept", "seen")

    def __init__(self, most: int, random: Random) -> None:
        self._most = most
        self._random = random
        self.kept: list[_Item] = []
        self.seen = 0

    def add(self, item: _Item) -> None:
        """Offer an item."""
        self.seen += 1
        if len(self.kept) < self._most:
            self.kept.append(item)
        elif (place := self._random.randrange(self.seen)) < self._most:
            self.kept[place] = item

    @property
    def stands_for(self) -> float:
        """How many were offered for each that was kept. There must be one."""
        return self.seen / len(self.kept)

    def merge(self, other: Reservoir[_Item]) -> None:
        """Add another's sample: each item that was offered to either stays with equal chance."""
        ours, others = self.seen, other.seen
        self.seen += others
        if ours + others <= self._most:
            self.kept = self.kept + other.kept
            return
        num_ours = self._share_of_draws(ours, others)
        chosen = self._random.sample(self.kept, num_ours)
        self.kept = chosen + self._random.sample(other.kept, self._most - num_ours)

    def _share_of_draws(self, ours: int, others: int) -> int:
        """How many of a full sample's draws, without replacement from both together, are of ours."""
        drawn = 0
        for left in range(ours + others, ours + others - self._most, -1):
            drawn += self._random.randrange(left) < ours - drawn
        return drawn
