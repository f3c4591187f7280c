"""An engine's state at a moment: the same numbers for every host."""

from __future__ import annotations

import msgspec

from ..scheduling.scheduler import Scheduler
from .step_account import EngineTotals


class EngineStats(msgspec.Struct, frozen=True):
    """The engine's state as of a step.

    Attributes:
        num_waiting: Requests that wait to join, or for a copy of their KV from the host tier.
        num_running: Requests that take part in steps.
        num_blocks_held: KV blocks on the device that a request or a parked session holds.
        num_blocks_cached: KV blocks on the device that can be found by prefix.
        num_cached_tokens: Tokens that did not have to be computed, so far.
        num_parked: Sessions between two requests.
        num_blocks_pinned: KV blocks on the device held for them.
        num_host_blocks_held: KV blocks of the host tier held for them.
        totals: Running totals.
    """

    num_waiting: int = 0
    num_running: int = 0
    num_blocks_held: int = 0
    num_blocks_cached: int = 0
    num_cached_tokens: int = 0
    num_parked: int = 0
    num_blocks_pinned: int = 0
    num_host_blocks_held: int = 0
    totals: EngineTotals = EngineTotals()

    @classmethod
    def of(cls, scheduler: Scheduler, totals: EngineTotals) -> EngineStats:
        """The state of a scheduler and its parking lot."""
        parking = scheduler.parking
        return cls(
            num_waiting=len(scheduler.waiting) + len(scheduler.restoring),
            num_running=len(scheduler.running),
            num_blocks_held=scheduler.blocks.num_held,
            num_blocks_cached=scheduler.blocks.num_cached,
            num_cached_tokens=scheduler.num_cached_tokens,
            num_parked=parking.num_parked,
            num_blocks_pinned=parking.num_pinned_blocks,
            num_host_blocks_held=parking.num_host_blocks_held,
            totals=totals,
        )

    @property
    def parked(self) -> tuple[int, int, int]:
        """What changes while no step runs, as time passes and copies arrive: sessions, and blocks on either side."""
        return self.num_parked, self.num_blocks_pinned, self.num_host_blocks_held
