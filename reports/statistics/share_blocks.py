"""A share of requests by time: how many independent requests it is known from."""

from __future__ import annotations

from .exceedances import Exceedances
from .percentile_estimate import effective_count
from .time_blocks import TimeBlocks

_NOT_US, _IS_US = 1, 1000
"""How requests are counted: as one of two values."""


class ShareBlocks:
    """Requests that are of a kind, and those that are not, by block of time in bounded memory."""

    __slots__ = ("_blocks",)

    def __init__(self) -> None:
        self._blocks = TimeBlocks()

    def add(self, at_s: float, *, is_of_kind: bool) -> None:
        """Count a request that belongs to this time, in seconds since the run began."""
        self._blocks.add(at_s, (_IS_US if is_of_kind else _NOT_US,))

    def merge(self, other: ShareBlocks) -> None:
        """Add another's counts, of the same run's time."""
        self._blocks.merge(other._blocks)

    def independent(self) -> float:
        """How many independent requests these are worth: what comes together is one event.

        The design effect with the memory of the blocks in it, as for percentiles (Korn and Graubard, 1998). Where all
        requests are alike, or of one moment, nothing shows how they come, and each counts.
        """
        exceedances = Exceedances(self._blocks.blocks())
        if not exceedances.edges:
            return 0.0
        edge = exceedances.edges[-1]
        if edge.above == 0 or len(exceedances.blocks) < 2:
            return float(exceedances.count)
        return round(effective_count(edge, exceedances.count), 1)
