"""The totals of an abatch engine over the measured part of a run."""

from __future__ import annotations

import asyncio
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from ...engine.loop.step_account import EngineTotals
from ...engine.session import ParkingTotals
from ..run_limits import RunLimits
from .target import BenchTarget


class EngineWatch:
    """Reads a target's running totals at the start and at the end of the measured part."""

    def __init__(self, target: BenchTarget, limits: RunLimits) -> None:
        self._target = target
        self._limits = limits
        self._first: EngineTotals | None = None
        self._last: EngineTotals | None = None

    async def run(self, origin_s: float) -> None:
        """Read both, at the times given by the limits. `origin_s`: when the run begins, on the loop's clock."""
        await self._until(origin_s + self._limits.warmup_s)
        self._first = await self._target.engine_totals()
        if self._first is not None and self._limits.duration_s is not None:
            await self._until(origin_s + self._limits.duration_s)
            self._last = await self._target.engine_totals()

    @property
    def is_lost(self) -> bool:
        """Whether totals that could be read at the start could not be read at the end."""
        return self._first is not None and self._last is None

    async def totals(self) -> EngineTotals | None:
        """The difference between the two, or up to now before the end; None if the target is not an abatch engine."""
        first, last = self._first, self._last
        if first is not None and last is None:
            last = self._last = await self._target.engine_totals()
        if first is None or last is None:
            return None
        return _difference(last, first)

    async def _until(self, at_s: float) -> None:
        await asyncio.sleep(at_s - asyncio.get_running_loop().time())


_Totals = TypeVar("_Totals", EngineTotals, ParkingTotals)


def _difference(last: _Totals, first: _Totals) -> _Totals:
    """The difference field by field, nested totals included."""
    values: dict[str, Any] = {}
    for total in fields(last):
        ours, theirs = getattr(last, total.name), getattr(first, total.name)
        values[total.name] = _difference(ours, theirs) if is_dataclass(ours) else ours - theirs
    return type(last)(**values)
