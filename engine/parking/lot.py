"""Sessions that step aside while a tool runs: what becomes of their KV until they come back."""

from __future__ import annotations

from collections.abc import Sequence

from ..kv.block_copy import BlockCopy
from ..kv.block_manager import BlockManager
from ..kv.block_mover import BlockMover
from ..kv.host_tier import HostTier
from ..request import FinishReason, Request
from ..session import ParkingTotals, ParkState, Session
from .account import ParkAccount
from .alarms import Alarms
from .config import ParkingConfig
from .costs import ParkCost
from .outlook import ParkOutlook
from .pins import Pins
from .registry import SessionRegistry

_MAX_SESSIONS = 16384
"""Known at once; of more, the one parked longest is forgotten."""

_COMFORT = 0.1
"""Share of the device's blocks that must be free beyond what a prefetch takes."""

_SNOOZE_S = 0.1
"""Until a pin that has lived long enough is looked at again, while a copy of it is under way."""


class ParkingLot:
    """The sessions of an engine. Pure: it is told the time, and orders copies without making them.

    A parked session holds its KV by references of its own to the blocks: on the device (a pin), in the host tier, or
    not at all. Giving a pin up destroys nothing by itself: its blocks become free ones, least recently used first, and
    are found again by their hashes if nobody needed them meanwhile.

    Policies: `keep` pins until somebody needs the memory; `offload` copies out at once and lets go when that is done;
    `drop` lets go at once; `auto` pins while there is room for everybody, and under pressure gives up first what wastes
    most by staying (`ParkCosts`), by copy where the host tier has room and that is cheaper than computing again.
    """

    def __init__(self, config: ParkingConfig, blocks: BlockManager) -> None:
        self.config = config
        self.outlook = ParkOutlook(blocks.block_size, config.host_num_blocks)
        self.host = HostTier(config.host_num_blocks, blocks.block_size)
        self.account = ParkAccount(blocks.block_size)
        self._totals = self.account.totals
        self.mover = BlockMover(blocks, self.host)
        self._blocks = blocks
        self.sessions = SessionRegistry()
        self._in_host: dict[Session, None] = {}
        self._pins = Pins(blocks)
        self._alarms = Alarms()

    @property
    def num_pinned_blocks(self) -> int:
        """Blocks on the device that are pinned."""
        return self._pins.num_blocks

    @property
    def is_making_room(self) -> bool:
        """True while copies out are under way: blocks will be free soon, or can be had at once."""
        return self.mover.num_out > 0

    def totals(self, now_s: float) -> ParkingTotals:
        """Running totals as of now."""
        self._totals.parked_block_s = self._pins.block_s(now_s)
        return self._totals

    # A session's life, in order.

    def begin(self, session_id: str, request: Request, now_s: float) -> Session:
        """A request of a session has arrived, the session's first or its next.

        Raises:
            SessionBusyError: one of its requests is under way.
        """
        oldest = self.sessions.oldest
        if len(self.sessions) >= _MAX_SESSIONS and oldest is not None and self.sessions.find(session_id) is None:
            self._forget(oldest, now_s)
        session = self.sessions.begin(session_id, request)
        if session.num_parks:
            self.outlook.pauses.observe(session.tool, session.elapsed_s(now_s))
        session.wakes_s = None
        return session

    def admitted(self, session: Session, request: Request, num_restored: int, now_s: float) -> None:
        """The session's request holds blocks of its own now; `num_restored` of them are on their way back."""
        is_known = self.sessions.find(session.session_id) is session
        if is_known and session.num_parks and request.num_preemptions == 0:
            self.account.returned(session, request, num_restored)
        self._let_go(session, now_s)

    def park(self, session: Session, request: Request, now_s: float) -> None:
        """A turn has ended; what was computed of it is kept as the policy says."""
        use = request.session
        self.sessions.park(session)
        if use and use.keeps_tokens and request.finish_reason is not FinishReason.CANCELLED:
            session.token_ids = request.token_ids  # what was given up is not part of the conversation
        session.hashes = request.block_hashes[: request.num_registered_blocks]
        session.tool, session.hint_s = (use.next_tool, use.expected_pause_s) if use else (None, None)
        session.attained_tokens += max(0, len(request.token_ids) - request.num_cached_tokens)
        session.parked_s = now_s
        session.num_parks += 1
        self._totals.num_parked += 1
        for block_id, block_hash in zip(request.block_ids, session.hashes, strict=False):
            # A block that had the same content when this one was computed may be gone by now.
            self._blocks.register(block_id, block_hash)
        block_ids = self._blocks.match(session.hashes)
        if self.config.policy == "drop" or not block_ids:
            self._drop(session, "drop", now_s)
            return
        self._blocks.acquire(block_ids)
        self._pin(session, block_ids, now_s)
        if self.config.policy == "offload":
            self._give_up(session, now_s)
            return
        self._note(session, "keep", now_s)
        if self.config.policy == "auto":
            self._back_up(session, now_s)
            self._alarms.set(session, now_s + self.outlook.keep_s(session, now_s))

    def withdraw(self, session: Session, now_s: float) -> None:
        """Its request was given up before it was admitted: the session is parked as it was, from now on."""
        self.sessions.park(session)
        session.parked_s = now_s
        if not session.num_parks:
            self.end(session.session_id, now_s)  # nothing has come of it
        elif session not in self._pins:
            pass
        elif self.config.policy == "auto":
            self._alarms.set(session, now_s + self.outlook.keep_s(session, now_s))
        elif session.host_ids and not session.is_copying:
            self._is_out(session, now_s)  # its copy has arrived

    def tell(self, session_id: str, tool: str | None, hint_s: float | None) -> None:
        """What a session waits for, or is going to; nothing happens if there is none."""
        session = self.sessions.find(session_id)
        if session is not None:
            session.tell(tool, hint_s)

    def end(self, session_id: str, now_s: float) -> bool:
        """Forget a session; False if there is none. A request of it that is under way goes on as any other."""
        session = self.sessions.remove(session_id)
        if session is None:
            return False
        self._let_go(session, now_s)
        session.num_parks += 1  # copies still on their way are for nobody
        session.token_ids, session.hashes = [], []  # a timer may hold it for a while yet
        return True

    # Time and memory.

    def tick(self, now_s: float, num_wanted: int, num_running_blocks: int) -> None:
        """Do what is due, and make room ahead of need: `num_wanted` blocks should be free."""
        timeout_s = self.config.session_timeout_s
        while (oldest := self.sessions.oldest) and oldest.parked_s + timeout_s <= now_s:  # as next_event_s has it
            self.outlook.pauses.observe(oldest.tool, oldest.elapsed_s(now_s))  # at least so long
            self._forget(oldest, now_s)
        for session in self._alarms.due(now_s):
            self._wake_up(session, now_s, num_wanted)
        if self.config.policy == "auto" and self._pins and self._lacks(num_wanted):
            for session, cost in self._most_wasteful_first(now_s, num_running_blocks):
                if cost.keep <= min(cost.offload, cost.drop) or not self._lacks(num_wanted):
                    break
                self._give_up(session, now_s, cost)

    def next_event_s(self) -> float | None:
        """When `tick` should be called at the latest; None if nothing is ever due."""
        times = [self._alarms.next_s()]
        if self.sessions.oldest is not None:
            times.append(self.sessions.oldest.parked_s + self.config.session_timeout_s)
        return min((at_s for at_s in times if at_s is not None), default=None)

    def make_room(
        self, now_s: float, num_running_blocks: int, *, own: Session | None = None, matched: Sequence[int] = ()
    ) -> bool:
        """Somebody lacks blocks: True if some were given up. False also while copies under way will free some.

        Of the pins of `own`, the session of the one in need, only those go that it has not `matched`, after all others.
        """
        if self.mover.num_leaving:
            return False
        for session, cost in self._most_wasteful_first(now_s, num_running_blocks):
            if session is own:
                continue
            self._totals.num_broken += 1
            if self.config.policy != "auto" or cost.drop <= cost.offload or not self._offload(session, now_s, cost):
                self._drop(session, "break", now_s, cost)
            return not session.is_copying
        return own is not None and not own.is_copying and self._pins.trim(own, matched, now_s)

    # Copies.

    def restorable(self, hashes: Sequence[bytes], first: int) -> list[int]:
        """Blocks of the host tier that continue the `first` ones, if copying them is quicker than computing them."""
        host_ids = self.host.match(hashes)[first:]
        return host_ids if host_ids and self.outlook.is_restore_quicker(len(host_ids)) else []

    def restore(self, request: Request, host_ids: list[int], first: int, now_s: float) -> None:
        """Have blocks copied back into those that the request holds, from its block `first` on."""
        end = first + len(host_ids)
        self._totals.restored_bytes += len(host_ids) * self.config.block_bytes
        self.mover.restore(request, host_ids, request.block_ids[first:end], request.block_hashes[first:end], now_s)

    def copied(self, copy: BlockCopy, now_s: float) -> None:
        """A copy is done."""
        self.mover.done(copy)
        session = copy.owner
        if isinstance(session, Request):
            is_return = session.parked_session is not None and session.num_preemptions == 0
            self._totals.restore_wait_s += (now_s - copy.ordered_s) * is_return
        elif session.num_parks == copy.number:
            session.is_copying = False
            session.host_ids = self.host.hold_found(session.host_ids, session.hashes)
            if copy.is_leaving and session.request is None:
                self._is_out(session, now_s)

    def _lacks(self, num_wanted: int) -> bool:
        return self._blocks.num_free + self.mover.num_leaving < num_wanted

    def _most_wasteful_first(self, now_s: float, num_running_blocks: int) -> list[tuple[Session, ParkCost]]:
        """Pinned sessions and their costs, first the one that should go first. Fixed policies: the oldest."""
        sessions = [session for session in self._pins if not session.is_copying]
        by_waste = self.config.policy == "auto"
        return self.outlook.most_wasteful_first(sessions, now_s, num_running_blocks, by_waste=by_waste)

    def _give_up(self, session: Session, now_s: float, cost: ParkCost | None = None) -> None:
        """Move a pinned session out, or drop it where that is cheaper or the host tier has no room."""
        if (cost is not None and cost.drop <= cost.offload) or not self._offload(session, now_s, cost):
            self._drop(session, "drop", now_s, cost)

    def _offload(self, session: Session, now_s: float, cost: ParkCost | None = None) -> bool:
        """Copy a pinned session out, which unpins it when done; False if the host tier has no room for it."""
        if session.host_ids:  # it is there already
            self._note(session, "offload", now_s, cost)
            self._is_out(session, now_s)
            return True
        hashes = session.hashes[: len(session.block_ids)]
        if not 0 < len(hashes) <= self.host.num_blocks:
            return False
        while (taken := self.host.take(hashes)) is None:
            if not self._make_room_in_host(session, now_s):
                return False
        self._note(session, "offload", now_s, cost)
        if self._copy_out(session, *taken, now_s, is_leaving=True) == 0:
            self._is_out(session, now_s)
        return True

    def _copy_out(
        self, session: Session, host_ids: list[int], num_there: int, now_s: float, *, is_leaving: bool
    ) -> int:
        """Have a pinned session copied into places of the host tier, the first of which hold their part already.

        Returns:
            How many blocks there are to copy.
        """
        session.host_ids, num_missing = host_ids, len(host_ids) - num_there
        if num_missing:
            session.is_copying = True
            self._totals.offloaded_bytes += num_missing * self.config.block_bytes
            self.mover.offload(session, num_there, now_s, is_leaving=is_leaving)
        return num_missing

    def _is_out(self, session: Session, now_s: float) -> None:
        """All of it is in the host tier."""
        self._pins.unpin(session, now_s)
        session.state, session.wakes_s = ParkState.HOST, None
        self._in_host[session] = None
        if self.config.policy == "auto" and (delay_s := self.outlook.prefetch_in_s(session, now_s)) is not None:
            self._alarms.set(session, now_s + delay_s)

    def _back_up(self, session: Session, now_s: float) -> None:
        """Copy a pinned session out ahead of need, where that pays and the host tier has room to spare."""
        share_free = self._blocks.num_free / self._blocks.num_blocks
        if self.outlook.pays_to_copy_ahead(session, now_s, share_free):
            taken = self.host.take(session.hashes[: len(session.block_ids)])
            if taken is not None:
                self._copy_out(session, *taken, now_s, is_leaving=False)

    def _make_room_in_host(self, newcomer: Session, now_s: float) -> bool:
        """Give up somebody's place in the host tier, for one that has to leave the device.

        Copies made ahead of need go first. Then `auto` gives up whom it expects last, if that is after the newcomer.
        """
        spare = [session for session in self._pins if session.host_ids and not session.is_copying]
        if spare:
            self._leave_host(min(spare, key=lambda session: self.outlook.remaining_s(session, now_s)))
            return True
        others = [session for session in self._in_host if session.request is None]
        if not others:
            return False
        victim = others[0]
        if self.config.policy == "auto":
            victim = max(others, key=lambda session: self.outlook.remaining_s(session, now_s))
            if self.outlook.remaining_s(victim, now_s) < self.outlook.remaining_s(newcomer, now_s):
                return False
        self._drop(victim, "drop", now_s)
        return True

    def _wake_up(self, session: Session, now_s: float, num_wanted: int) -> None:
        """Its pin has lived as long as it should, or, in the host tier, it is expected back."""
        if session.state is ParkState.HOST:
            self._prefetch(session, now_s, num_wanted)
        elif session.is_copying:
            self._alarms.set(session, now_s + _SNOOZE_S)
        else:
            self._give_up(session, now_s)
            if session.hint_s is None:
                session.wakes_s = None  # nothing says any more when it will be back

    def _prefetch(self, session: Session, now_s: float, num_wanted: int) -> None:
        """Bring a session back ahead of its return, if that is no burden for anybody."""
        matched = self._blocks.match(session.hashes)
        host_ids = self.host.match(session.hashes)[len(matched) :]
        reserve = num_wanted + int(_COMFORT * self._blocks.num_blocks)
        if not self._blocks.can_allocate(len(host_ids), matched, reserve=reserve):
            return
        self._blocks.acquire(matched)
        device_ids = self._blocks.allocate(len(host_ids))
        self._pin(session, matched + device_ids, now_s)
        if host_ids:
            session.is_copying = True
            self._totals.num_prefetched += 1
            self._note(session, "prefetch", now_s)
            self._totals.restored_bytes += len(host_ids) * self.config.block_bytes
            hashes = session.hashes[len(matched) : len(session.block_ids)]
            self.mover.restore(session, host_ids, device_ids, hashes, now_s)
        self._leave_host(session)  # its copy there stays findable, until somebody needs the place
        self._alarms.set(session, now_s + self.outlook.keep_s(session, now_s))

    def _pin(self, session: Session, block_ids: list[int], now_s: float) -> None:
        self._pins.pin(session, block_ids, now_s)
        session.state = ParkState.RESIDENT

    def _drop(self, session: Session, action: str, now_s: float, cost: ParkCost | None = None) -> None:
        self._note(session, action, now_s, cost)
        self._let_go(session, now_s)

    def _let_go(self, session: Session, now_s: float) -> None:
        """Hold nothing for a session any more, and wait for nothing."""
        self._pins.unpin(session, now_s)
        self._leave_host(session)
        session.wakes_s, session.state, session.is_copying = None, ParkState.DROPPED, False

    def _leave_host(self, session: Session) -> None:
        self._in_host.pop(session, None)
        self.host.release(session.host_ids)
        session.host_ids = []

    def _forget(self, session: Session, now_s: float) -> None:
        """It did not come back in time, or there are too many."""
        self._totals.num_expired += 1
        self._note(session, "expire", now_s)
        self.end(session.session_id, now_s)

    def _note(self, session: Session, action: str, now_s: float, cost: ParkCost | None = None) -> None:
        self.account.note(session, action, self.outlook.remaining_s(session, now_s), cost)
