"""Sessions that step aside while a tool runs: what becomes of their KV until they come back."""

from __future__ import annotations

from collections.abc import Sequence

from ..kv.block_copy import BlockCopy
from ..kv.block_manager import BlockManager
from ..request import Request
from ..session import EngineSession, ParkEvent, ParkingTotals
from .account import ParkAccount
from .config import ParkingConfig
from .outlook import ParkOutlook
from .placement import Placement
from .registry import SessionRegistry

_MAX_SESSIONS = 16384
"""Known at once; of more, the one parked longest is forgotten."""


class ParkingLot:
    """The sessions of an engine. Pure: it is told the time, and orders copies without making them.

    A parked session holds its KV by references of its own to the blocks: on the device (a pin), in the host tier, or
    not at all. Giving a pin up destroys nothing by itself: its blocks become free ones, least recently used first, and
    are found again by their hashes if no one needed them meanwhile.

    Policies: `keep` pins until a request needs the memory; `offload` copies out at once and lets go when that is done;
    `drop` lets go at once; `auto` pins while there is room for all, and under pressure gives up first what wastes
    most by staying (`ParkCosts`), by copy where the host tier has room and that is cheaper than computing again.
    """

    def __init__(self, config: ParkingConfig, blocks: BlockManager) -> None:
        self.config = config
        self._blocks = blocks
        self._sessions = SessionRegistry()
        self._outlook = ParkOutlook(blocks.block_size, config.host_num_blocks)
        self._account = ParkAccount(blocks.block_size)
        self._totals = self._account.totals
        self._placement = Placement(config, blocks, self._outlook, self._account)

    @property
    def num_parked(self) -> int:
        """Sessions between two requests."""
        return self._sessions.num_parked

    @property
    def num_pinned_blocks(self) -> int:
        """Blocks on the device that are pinned."""
        return self._placement.num_pinned_blocks

    @property
    def num_host_blocks(self) -> int:
        """Blocks of the host tier."""
        return self.config.host_num_blocks

    @property
    def num_host_blocks_held(self) -> int:
        """Those of them that a session or a copy counts on."""
        return self._placement.num_host_blocks_held

    @property
    def is_making_room(self) -> bool:
        """True while copies out are under way: blocks will be free soon, or can be had at once."""
        return self._placement.is_making_room

    def totals(self, now_s: float) -> ParkingTotals:
        """Running totals as of now."""
        self._totals.parked_block_s = self._placement.pinned_block_s(now_s)
        return self._totals

    def find(self, session_id: str) -> EngineSession | None:
        """A session that has not ended or expired."""
        return self._sessions.find(session_id)

    # A session's life, in order.

    def begin(self, session_id: str, request: Request, now_s: float) -> EngineSession:
        """A request of a session has arrived, the session's first or its next.

        Raises:
            SessionBusyError: one of its requests is under way.
        """
        oldest = self._sessions.oldest
        if len(self._sessions) >= _MAX_SESSIONS and oldest is not None and self._sessions.find(session_id) is None:
            self._forget(oldest, now_s)
        session = self._sessions.begin(session_id, request)
        if session.num_parks:
            self._outlook.pauses.observe(session.tool, session.elapsed_s(now_s))
        session.wakes_s = None
        return session

    def admitted(self, session: EngineSession, request: Request, num_restored: int, now_s: float) -> None:
        """The session's request holds blocks of its own now; `num_restored` of them are on their way back."""
        is_known = self._sessions.find(session.session_id) is session
        if is_known and session.num_parks and request.num_preemptions == 0:
            self._account.returned(session, request, num_restored)
        self._placement.let_go(session, now_s)

    def park(self, session: EngineSession, request: Request, now_s: float) -> None:
        """A turn has ended; what was computed of it is kept as the policy says."""
        use = request.session
        self._sessions.park(session)
        session.hashes = request.block_hashes[: request.num_registered_blocks]
        session.tool, session.hint_s = (use.next_tool, use.expected_pause_s) if use else (None, None)
        session.attained_tokens += max(0, len(request.token_ids) - request.num_cached_tokens)
        session.parked_s = now_s
        session.num_parks += 1
        self._totals.num_parked += 1
        for block_id, block_hash in zip(request.block_ids, session.hashes, strict=False):
            # A block that had the same content when this one was computed may be gone by now.
            self._blocks.register(block_id, block_hash)
        self._placement.place(session, now_s)

    def withdraw(self, session: EngineSession, now_s: float) -> None:
        """Its request was given up before it was admitted: the session is parked as it was, from now on."""
        self._sessions.park(session)
        session.parked_s = now_s
        if not session.num_parks:
            self.end(session.session_id, now_s)  # nothing has come of it
        else:
            self._placement.place_again(session, now_s)

    def tell(self, session_id: str, tool: str | None, hint_s: float | None) -> None:
        """What a session waits for, or is going to; nothing happens if there is none."""
        session = self._sessions.find(session_id)
        if session is not None:
            session.tell(tool, hint_s)

    def end(self, session_id: str, now_s: float) -> bool:
        """Forget a session; False if there is none. A request of it that is under way goes on as any other."""
        session = self._sessions.remove(session_id)
        if session is None:
            return False
        self._placement.let_go(session, now_s)
        session.num_parks += 1  # copies still on their way are for no one
        session.hashes = []  # a timer may hold it for a while yet
        return True

    # Time and memory.

    def tick(self, now_s: float, num_wanted: int, num_running_blocks: int) -> None:
        """Do what is due, and make room ahead of need: `num_wanted` blocks should be free."""
        timeout_s = self.config.session_timeout_s
        while (oldest := self._sessions.oldest) and oldest.parked_s + timeout_s <= now_s:  # as next_event_s has it
            self._outlook.pauses.observe(oldest.tool, oldest.elapsed_s(now_s))  # it paused for at least this long
            self._forget(oldest, now_s)
        self._placement.tick(now_s, num_wanted, num_running_blocks)

    def next_event_s(self) -> float | None:
        """When `tick` should be called at the latest; None if nothing is ever due."""
        times = [self._placement.next_event_s()]
        if self._sessions.oldest is not None:
            times.append(self._sessions.oldest.parked_s + self.config.session_timeout_s)
        return min((at_s for at_s in times if at_s is not None), default=None)

    def make_room(
        self, now_s: float, num_running_blocks: int, *, own: EngineSession | None = None, matched: Sequence[int] = ()
    ) -> bool:
        """A request lacks blocks: True if some were given up. False also while copies under way will free some.

        Of the pins of `own`, the request's session, only those it has not `matched` go, after all others.
        """
        return self._placement.make_room(now_s, num_running_blocks, own=own, matched=matched)

    # Copies, and what is learnt from what happens.

    def take_orders(self) -> list[BlockCopy]:
        """Copies to be made, in order. Each is to be reported by `copied`."""
        return self._placement.take_orders()

    def take_events(self) -> list[ParkEvent]:
        """What was decided about sessions since the last call."""
        return self._account.take_events()

    def learn_prefill(self, num_tokens: int, seconds: float) -> None:
        """Take in how long a step of mostly prefill took."""
        self._outlook.costs.learn_prefill(num_tokens, seconds)

    def learn_copy(self, num_blocks: int, seconds: float) -> None:
        """Take in how long a copy between device and host took."""
        self._outlook.costs.learn_copy(num_blocks, seconds)

    def restorable(self, hashes: Sequence[bytes], first: int) -> list[int]:
        """Blocks of the host tier that continue the `first` ones, if copying them is quicker than computing them."""
        return self._placement.restorable(hashes, first)

    def restore(self, request: Request, host_ids: list[int], first: int, now_s: float) -> None:
        """Have blocks copied back into those that the request holds, from its block `first` on."""
        self._placement.restore(request, host_ids, first, now_s)

    def copied(self, copy: BlockCopy, now_s: float) -> None:
        """A copy is done."""
        self._placement.copied(copy, now_s)

    def _forget(self, session: EngineSession, now_s: float) -> None:
        """It did not come back in time, or there are too many."""
        self._totals.num_expired += 1
        self._placement.note(session, "expire", now_s)
        self.end(session.session_id, now_s)
