"""What came of parking: running totals, and each decision for the step log."""

from __future__ import annotations

from collections.abc import Iterable

from ..request import Request
from ..session import EngineSession, ParkEvent, ParkingTotals
from .costs import ParkCost


class ParkAccount:
    """Counts, and remembers decisions until they are taken."""

    def __init__(self, block_size: int) -> None:
        self.totals = ParkingTotals()
        self._block_size = block_size
        self._events: list[ParkEvent] = []

    def take_events(self) -> list[ParkEvent]:
        """What was decided since the last call."""
        events, self._events = self._events, []
        return events

    def note(self, session: EngineSession, action: str, remaining_s: float, cost: ParkCost | None = None) -> None:
        """A decision about a parked session."""
        num_blocks = len(session.block_ids) or len(session.host_ids)
        costs = (None, None, None) if cost is None else (round(value, 3) for value in cost)
        event = ParkEvent(session.session_id, action, num_blocks, session.tool, round(remaining_s, 3), *costs)
        self._events.append(event)

    def returned(self, session: EngineSession, request: Request, num_restored: int) -> None:
        """A session is back: count whether it found as much of its context as the new request shares."""
        size, totals = self._block_size, self.totals
        common = _common_length(session.hashes, request.block_hashes)
        num_lost = max(0, min(common * size, request.num_prompt - 1) - request.num_cached_tokens)
        if num_lost >= size:
            totals.num_recomputed += 1
            totals.recomputed_tokens += num_lost
            action = "recomputed"
        elif num_restored:
            totals.num_restored += 1
            action = "restored"
        else:
            totals.num_kept += 1
            action = "kept"
        self._events.append(ParkEvent(session.session_id, action, num_restored or common, session.tool))


def _common_length(ours: Iterable[bytes], theirs: Iterable[bytes]) -> int:
    """Length of the common beginning."""
    number = 0
    for one, other in zip(ours, theirs, strict=False):
        if one != other:
            break
        number += 1
    return number
