"""What is expected of a parked session: when it returns, and what holding, copying or recomputing its KV would cost."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..session import EngineSession
from .costs import ParkCost, ParkCosts
from .pauses import PauseEstimator

_KEEP_QUANTILE = 0.9
_SHORTEST_KEEP_S = 1.0
"""A pin lives until nine of ten such pauses have ended, and for a second at least."""

_PREFETCH_SLACK_S = 0.02
_PREFETCH_HORIZON_S = 2.0
"""A session is fetched back only if it is expected within this: further ahead an estimate says little."""

_AMPLE = 0.3
"""Share of the device's blocks that are free."""


class ParkOutlook:
    """Learns from pauses, prefills and copies. What a client said of a pause counts for more than what was learnt."""

    def __init__(self, block_size: int, host_num_blocks: int) -> None:
        self.costs = ParkCosts()
        self.pauses = PauseEstimator()
        self._block_size = block_size
        self._host_num_blocks = host_num_blocks

    def remaining_s(self, session: EngineSession, now_s: float) -> float:
        """Expected rest of its pause; 0 once it is back and waits to be admitted."""
        if session.request is not None:
            return 0.0
        elapsed_s = session.elapsed_s(now_s)
        if session.hint_s is not None and session.hint_s > elapsed_s:
            return session.hint_s - elapsed_s
        return self.pauses.remaining_s(session.tool, elapsed_s)

    def keep_s(self, session: EngineSession, now_s: float) -> float:
        """How long a pin is to live from now on: a soft limit, as need may break it earlier."""
        elapsed_s = session.elapsed_s(now_s)
        keep_s = self.pauses.quantile_s(session.tool, elapsed_s, _KEEP_QUANTILE)
        return max(keep_s, (session.hint_s or 0.0) - elapsed_s, _SHORTEST_KEEP_S)

    def prefetch_in_s(self, session: EngineSession, now_s: float) -> float | None:
        """When to begin to fetch it back, to have it there when it is expected; None if that is not soon."""
        elapsed_s = session.elapsed_s(now_s)
        if session.hint_s is not None and session.hint_s > elapsed_s:
            expected_s = session.hint_s - elapsed_s
        else:
            expected_s = self.pauses.quantile_s(session.tool, elapsed_s, 0.5)
            if expected_s > _PREFETCH_HORIZON_S:
                return None
        return max(0.0, expected_s - self.costs.copy_s(len(session.hashes)) - _PREFETCH_SLACK_S)

    def pays_to_copy_ahead(self, session: EngineSession, now_s: float, share_free: float) -> bool:
        """Whether a pinned session should have its copy in the host tier before it must leave, to leave at once then.

        `share_free`: the share of the device's blocks that are free. While they are ample, no session has to leave.
        """
        copy_s = self.costs.copy_s(len(session.block_ids))
        return share_free <= _AMPLE and self.remaining_s(session, now_s) > copy_s

    def cost(self, session: EngineSession, now_s: float, num_running_blocks: int) -> ParkCost:
        """Of the three choices for a pinned session."""
        num_blocks = len(session.block_ids)
        cost = self.costs.of(
            num_blocks=num_blocks,
            num_tokens=num_blocks * self._block_size,
            remaining_s=self.remaining_s(session, now_s),
            num_running_blocks=num_running_blocks,
        )
        return cost if self._host_num_blocks >= num_blocks else cost._replace(offload=math.inf)

    def most_wasteful_first(
        self, sessions: Sequence[EngineSession], now_s: float, num_running_blocks: int, *, by_waste: bool
    ) -> list[tuple[EngineSession, ParkCost]]:
        """Pinned sessions and what each choice would cost for them.

        Ordered by what a block wastes by staying, against the cheaper of copying it and computing it again; without
        `by_waste` in the order they were parked. Those that are back, and wait to be admitted, come last.
        """
        costs = [self.cost(session, now_s, num_running_blocks) for session in sessions]

        def order(candidate: tuple[EngineSession, ParkCost]) -> tuple[bool, float]:
            session, (keep, offload, drop) = candidate
            gain = (min(offload, drop) - keep) / max(len(session.block_ids), 1)
            return session.request is not None, gain if by_waste else session.parked_s

        return sorted(zip(sessions, costs, strict=True), key=order)

    def is_restore_quicker(self, num_blocks: int) -> bool:
        """Whether blocks are copied back in less time than they are computed again."""
        return self.costs.copy_s(num_blocks) < self.costs.prefill_s(num_blocks * self._block_size)
