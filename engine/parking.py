"""Sessions that step aside while a tool runs: what becomes of their KV until they come back."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Sequence
from itertools import count

from .block_copy import BlockCopy
from .block_manager import BlockManager
from .block_mover import BlockMover
from .errors import SessionBusyError
from .host_tier import HostTier
from .park_account import ParkAccount
from .park_costs import ParkCost
from .park_outlook import ParkOutlook
from .parked_session import ParkEvent, ParkingConfig, ParkingTotals, ParkState, Session
from .pins import Pins
from .request import Request

_MAX_SESSIONS = 16384
"""Known at once; of more, the one parked longest is forgotten."""

_COMFORT = 0.1
"""Share of the device's blocks that must be free beyond what a prefetch takes."""


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
        self._account = ParkAccount(blocks.block_size)
        self._totals = self._account.totals
        self._mover = BlockMover(blocks, self.host)
        self._blocks = blocks
        self._sessions: dict[str, Session] = {}
        self._parked: OrderedDict[Session, None] = OrderedDict()
        """Those between two requests, parked longest first."""
        self._in_host: dict[Session, None] = {}
        self._pins = Pins(blocks)
        self._timers: list[tuple[float, int, Session]] = []
        self._timer_numbers = count()

    @property
    def num_pinned_blocks(self) -> int:
        """Blocks on the device that are pinned."""
        return self._pins.num_blocks

    @property
    def num_parked(self) -> int:
        """Sessions without a request under way."""
        return len(self._parked)

    @property
    def is_making_room(self) -> bool:
        """True while copies out are under way: their blocks will be free soon."""
        return self._mover.num_leaving > 0

    def totals(self, now_s: float) -> ParkingTotals:
        """Running totals as of now."""
        self._totals.parked_block_s = self._pins.block_s(now_s)
        return self._totals

    def take_events(self) -> list[ParkEvent]:
        """What was decided since the last call."""
        return self._account.take_events()

    def find(self, session_id: str) -> Session | None:
        """A session that has not ended or expired."""
        return self._sessions.get(session_id)

    # A session's life, in order.

    def begin(self, session_id: str, request: Request, now_s: float) -> Session:
        """A request of a session has arrived, the session's first or its next.

        Raises:
            SessionBusyError: one of its requests is under way.
        """
        session = self._sessions.get(session_id)
        if session is None:
            if len(self._sessions) >= _MAX_SESSIONS and self._parked:
                self._forget(next(iter(self._parked)), now_s)
            session = self._sessions[session_id] = Session(session_id)
        elif session.request is not None:
            raise SessionBusyError(session_id)
        else:
            self.outlook.pauses.observe(session.tool, session.elapsed_s(now_s))
            del self._parked[session]
            session.wakes_s = None
        session.request = request
        return session

    def admitted(self, session: Session, request: Request, num_restored: int, now_s: float) -> None:
        """The session's request holds blocks of its own now; `num_restored` of them are on their way back."""
        if session.num_parks and request.num_preemptions == 0:
            self._account.returned(session, request, num_restored)
        self._let_go(session, now_s)

    def park(self, session: Session, request: Request, now_s: float) -> None:
        """A turn has ended; what was computed of it is kept as the policy says."""
        use = request.session
        self._step_aside(session, now_s)
        session.token_ids = request.token_ids
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
            self._wake(session, now_s + self.outlook.keep_s(session, now_s))

    def withdraw(self, session: Session, now_s: float) -> None:
        """Its request was given up before it was admitted: the session is parked as it was."""
        self._step_aside(session, now_s)
        if self.config.policy == "auto" and session in self._pins:
            self._wake(session, now_s + self.outlook.keep_s(session, now_s))

    def tell(self, session_id: str, tool: str | None, hint_s: float | None) -> None:
        """What a parked session waits for became known after it had been parked; nothing happens if it is not."""
        session = self._sessions.get(session_id)
        if session is not None and session.request is None:
            session.tool = session.tool if tool is None else tool
            session.hint_s = session.hint_s if hint_s is None else hint_s

    def end(self, session_id: str, now_s: float) -> bool:
        """Forget a session; False if there is none. A request of it that is under way goes on as any other."""
        session = self._sessions.pop(session_id, None)
        if session is None:
            return False
        self._parked.pop(session, None)
        self._let_go(session, now_s)
        session.num_parks += 1  # copies still on their way are for nobody
        session.token_ids, session.hashes = [], []  # a timer may hold it for a while yet
        return True

    # Time and memory.

    def tick(self, now_s: float, num_wanted: int, num_running_blocks: int) -> None:
        """Do what is due, and make room ahead of need: `num_wanted` blocks should be free."""
        while self._parked and (oldest := next(iter(self._parked))).elapsed_s(now_s) >= self.config.session_timeout_s:
            self._forget(oldest, now_s)
        while self._timers and self._timers[0][0] <= now_s:
            at_s, _, session = heapq.heappop(self._timers)
            if session.wakes_s == at_s:
                self._wake_up(session, now_s, num_wanted)
        if self.config.policy == "auto" and self._pins and self._lacks(num_wanted):
            for session, cost in self._most_wasteful_first(now_s, num_running_blocks):
                if cost.keep <= min(cost.offload, cost.drop) or not self._lacks(num_wanted):
                    break
                self._give_up(session, now_s, cost)

    def next_event_s(self) -> float | None:
        """When `tick` should be called at the latest; None if nothing is ever due."""
        timers = self._timers
        while timers and timers[0][2].wakes_s != timers[0][0]:
            heapq.heappop(timers)
        times = [timers[0][0]] if timers else []
        if self._parked:
            times.append(next(iter(self._parked)).parked_s + self.config.session_timeout_s)
        return min(times, default=None)

    def make_room(self, now_s: float, num_running_blocks: int, *, own: Session | None = None) -> bool:
        """Somebody lacks blocks. True if some were given up, so that it is worth to look again.

        False if there is nothing to give up, or copies that will free some are under way.

        Args:
            now_s: Now.
            num_running_blocks: Blocks of running requests.
            own: The session of the one in need, whose own pins are no help.
        """
        if self.is_making_room:
            return False
        for session, cost in self._most_wasteful_first(now_s, num_running_blocks):
            if session is own:
                continue
            self._totals.num_broken += 1
            if self.config.policy != "auto" or cost.drop <= cost.offload or not self._offload(session, now_s, cost):
                self._drop(session, "break", now_s, cost)
            return not session.is_copying
        return False

    # Copies.

    def restorable(self, hashes: Sequence[bytes], first: int) -> list[int]:
        """Blocks of the host tier that continue the `first` ones, if copying them is quicker than computing them."""
        host_ids = self.host.match(hashes)[first:]
        return host_ids if host_ids and self.outlook.is_restore_quicker(len(host_ids)) else []

    def restore(self, request: Request, host_ids: list[int], first: int, now_s: float) -> None:
        """Have blocks copied back into those that the request holds, from its block `first` on."""
        end = first + len(host_ids)
        self._totals.restored_bytes += len(host_ids) * self.config.block_bytes
        self._mover.restore(request, host_ids, request.block_ids[first:end], request.block_hashes[first:end], now_s)

    def take_orders(self) -> list[BlockCopy]:
        """Copies to be made, in order. Each is to be reported by `copied` once done."""
        return self._mover.take_orders()

    def copied(self, copy: BlockCopy, now_s: float) -> None:
        """A copy is done."""
        self._mover.done(copy)
        session = copy.owner
        if isinstance(session, Request):
            self._totals.restore_wait_s += now_s - copy.ordered_s
        elif session.num_parks == copy.number:
            session.is_copying = False
            if copy.direction == "offload" and session.request is None:
                self._is_out(session, now_s)

    # How the above is done.

    def _step_aside(self, session: Session, now_s: float) -> None:
        session.request = None
        self._parked[session] = None
        self._parked.move_to_end(session)

    def _lacks(self, num_wanted: int) -> bool:
        return self._blocks.num_free + self._mover.num_leaving < num_wanted

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
        hashes = session.hashes[: len(session.block_ids)]
        while (taken := self.host.take(hashes)) is None:
            if not self._make_room_in_host(session, now_s):
                return False
        self._note(session, "offload", now_s, cost)
        session.wakes_s = None
        session.host_ids, num_there = taken
        if num_there == len(hashes):
            self._is_out(session, now_s)
            return True
        session.is_copying = True
        self._totals.offloaded_bytes += (len(hashes) - num_there) * self.config.block_bytes
        self._mover.offload(session, num_there, now_s)
        return True

    def _is_out(self, session: Session, now_s: float) -> None:
        """All of it is in the host tier."""
        self._pins.unpin(session, now_s)
        session.state = ParkState.HOST
        self._in_host[session] = None
        if self.config.policy == "auto" and (delay_s := self.outlook.prefetch_in_s(session, now_s)) is not None:
            self._wake(session, now_s + delay_s)

    def _make_room_in_host(self, newcomer: Session, now_s: float) -> bool:
        """Give up somebody's place in the host tier: `auto` of whom it expects last, and only if after the newcomer."""
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

    def _wake(self, session: Session, at_s: float) -> None:
        session.wakes_s = at_s
        heapq.heappush(self._timers, (at_s, next(self._timer_numbers), session))

    def _wake_up(self, session: Session, now_s: float, num_wanted: int) -> None:
        """Its pin has lived as long as it should, or, in the host tier, it is expected back."""
        session.wakes_s = None
        if session.state is ParkState.HOST:
            self._prefetch(session, now_s, num_wanted)
        elif not session.is_copying:
            self._give_up(session, now_s)

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
            self._mover.restore(session, host_ids, device_ids, hashes, now_s)
        self._leave_host(session)  # its copy there stays findable, until somebody needs the place
        self._wake(session, now_s + self.outlook.keep_s(session, now_s))

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
        session.wakes_s, session.state = None, ParkState.DROPPED

    def _leave_host(self, session: Session) -> None:
        self._in_host.pop(session, None)
        self.host.release(session.host_ids)
        session.host_ids = []

    def _forget(self, session: Session, now_s: float) -> None:
        """It did not come back: a pause of at least this length, as far as the estimator is concerned."""
        self.outlook.pauses.observe(session.tool, session.elapsed_s(now_s))
        self._totals.num_expired += 1
        self._note(session, "expire", now_s)
        self.end(session.session_id, now_s)

    def _note(self, session: Session, action: str, now_s: float, cost: ParkCost | None = None) -> None:
        self._account.note(session, action, self.outlook.remaining_s(session, now_s), cost)
