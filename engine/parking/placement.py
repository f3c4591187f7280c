"""Where the KV of parked sessions is: on the device, in the host tier or nowhere, and when it moves."""

from __future__ import annotations

from collections.abc import Sequence

from ..kv.block_copy import BlockCopy
from ..kv.block_manager import BlockManager
from ..request import Request
from ..session import EngineSession, ParkState
from .account import ParkAccount
from .alarms import Alarms
from .config import ParkingConfig
from .costs import ParkCost
from .host_side import HostSide
from .outlook import ParkOutlook
from .pins import Pins

_COMFORT = 0.1
"""Share of the device's blocks that must be free beyond what a prefetch takes."""

_SNOOZE_S = 0.1
"""Until a pin that has lived long enough is looked at again, while a copy of it is under way."""


class Placement:
    """Places parked sessions as the policy says (see `ParkingLot`), and moves them when time or memory runs out."""

    def __init__(self, config: ParkingConfig, blocks: BlockManager, outlook: ParkOutlook, account: ParkAccount) -> None:
        self._policy = config.policy
        self._blocks = blocks
        self._outlook = outlook
        self._account = account
        self._totals = account.totals
        self._pins = Pins(blocks)
        self._host = HostSide(config, blocks, account.totals)
        self._alarms = Alarms()

    @property
    def num_pinned_blocks(self) -> int:
        """Blocks on the device that are pinned."""
        return self._pins.num_blocks

    @property
    def num_host_blocks_held(self) -> int:
        """Blocks of the host tier that a session or a copy under way counts on."""
        return self._host.num_held

    @property
    def is_making_room(self) -> bool:
        """True while copies out are under way: blocks will be free soon, or can be had at once."""
        return self._host.num_out > 0

    def pinned_block_s(self, now_s: float) -> float:
        """Blocks times seconds pinned until now."""
        return self._pins.block_s(now_s)

    def place(self, session: EngineSession, now_s: float) -> None:
        """A session has been parked: hold what the device still has of it, as the policy says."""
        block_ids = self._blocks.match(session.hashes)
        if self._policy == "drop" or not block_ids:
            self._drop(session, "drop", now_s)
            return
        self._blocks.acquire(block_ids)
        self._pin(session, block_ids, now_s)
        if self._policy == "offload":
            self._give_up(session, now_s)
            return
        self.note(session, "keep", now_s)
        if self._policy == "auto":
            self._back_up(session, now_s)
            self._alarms.set(session, now_s + self._outlook.keep_s(session, now_s))

    def place_again(self, session: EngineSession, now_s: float) -> None:
        """A session is parked where it was, from now on."""
        if session not in self._pins:
            return
        if self._policy == "auto":
            self._alarms.set(session, now_s + self._outlook.keep_s(session, now_s))
        elif session.host_ids and not session.is_copying:
            self._is_out(session, now_s)  # its copy has arrived

    def let_go(self, session: EngineSession, now_s: float) -> None:
        """Hold nothing for a session any more, and wait for nothing."""
        self._pins.unpin(session, now_s)
        self._host.leave(session)
        session.wakes_s, session.state, session.is_copying = None, ParkState.DROPPED, False

    def tick(self, now_s: float, num_wanted: int, num_running_blocks: int) -> None:
        """Move sessions whose time has come, and make room ahead of need: `num_wanted` blocks should be free."""
        for session in self._alarms.due(now_s):
            self._wake_up(session, now_s, num_wanted)
        if self._policy == "auto" and self._pins and self._lacks(num_wanted):
            for session, cost in self._most_wasteful_first(now_s, num_running_blocks):
                if cost.keep <= min(cost.offload, cost.drop) or not self._lacks(num_wanted):
                    break
                self._give_up(session, now_s, cost)

    def next_event_s(self) -> float | None:
        """When `tick` should be called at the latest; None if nothing is due."""
        return self._alarms.next_s()

    def make_room(
        self, now_s: float, num_running_blocks: int, *, own: EngineSession | None = None, matched: Sequence[int] = ()
    ) -> bool:
        """A request lacks blocks: True if some were given up. False also while copies under way will free some.

        Of the pins of `own`, the request's session, only those it has not `matched` go, after all others.
        """
        if self._host.num_leaving:
            return False
        for session, cost in self._most_wasteful_first(now_s, num_running_blocks):
            if session is own:
                continue
            self._totals.num_broken += 1
            if self._policy != "auto" or cost.drop <= cost.offload or not self._offload(session, now_s, cost):
                self._drop(session, "break", now_s, cost)
            return not session.is_copying
        return own is not None and not own.is_copying and self._pins.trim(own, matched, now_s)

    def restorable(self, hashes: Sequence[bytes], first: int) -> list[int]:
        """Blocks of the host tier that continue the `first` ones, if copying them is quicker than computing them."""
        host_ids = self._host.match(hashes)[first:]
        return host_ids if host_ids and self._outlook.is_restore_quicker(len(host_ids)) else []

    def restore(self, request: Request, host_ids: list[int], first: int, now_s: float) -> None:
        """Have blocks copied back into those that the request holds, from its block `first` on."""
        end = first + len(host_ids)
        self._host.copy_back(request, host_ids, request.block_ids[first:end], request.block_hashes[first:end], now_s)

    def take_orders(self) -> list[BlockCopy]:
        """Copies to be made, in order. Each is to be reported by `copied`."""
        return self._host.take_orders()

    def copied(self, copy: BlockCopy, now_s: float) -> None:
        """A copy is done."""
        session = self._host.done(copy, now_s)
        if session is not None and copy.is_leaving and session.request is None:
            self._is_out(session, now_s)

    def note(self, session: EngineSession, action: str, now_s: float, cost: ParkCost | None = None) -> None:
        """Put a decision about a session on record."""
        self._account.note(session, action, self._outlook.remaining_s(session, now_s), cost)

    def _lacks(self, num_wanted: int) -> bool:
        return self._blocks.num_free + self._host.num_leaving < num_wanted

    def _most_wasteful_first(self, now_s: float, num_running_blocks: int) -> list[tuple[EngineSession, ParkCost]]:
        """Pinned sessions and their costs, first the one that should go first. Fixed policies: the oldest."""
        sessions = [session for session in self._pins if not session.is_copying]
        by_waste = self._policy == "auto"
        return self._outlook.most_wasteful_first(sessions, now_s, num_running_blocks, by_waste=by_waste)

    def _give_up(self, session: EngineSession, now_s: float, cost: ParkCost | None = None) -> None:
        """Move a pinned session out, or drop it where that is cheaper or the host tier has no room."""
        if (cost is not None and cost.drop <= cost.offload) or not self._offload(session, now_s, cost):
            self._drop(session, "drop", now_s, cost)

    def _offload(self, session: EngineSession, now_s: float, cost: ParkCost | None = None) -> bool:
        """Copy a pinned session out, which unpins it when done; False if the host tier has no room for it."""
        if session.host_ids:  # it is there already
            self.note(session, "offload", now_s, cost)
            self._is_out(session, now_s)
            return True
        if not 0 < min(len(session.hashes), len(session.block_ids)) <= self._host.num_blocks:
            return False
        while (num_copied := self._host.copy_out(session, now_s, is_leaving=True)) is None:
            if not self._make_room_in_host(session, now_s):
                return False
        self.note(session, "offload", now_s, cost)
        if num_copied == 0:
            self._is_out(session, now_s)
        return True

    def _is_out(self, session: EngineSession, now_s: float) -> None:
        """All of it is in the host tier."""
        self._pins.unpin(session, now_s)
        session.state, session.wakes_s = ParkState.HOST, None
        self._host.enter(session)
        if self._policy == "auto" and (delay_s := self._outlook.prefetch_in_s(session, now_s)) is not None:
            self._alarms.set(session, now_s + delay_s)

    def _back_up(self, session: EngineSession, now_s: float) -> None:
        """Copy a pinned session out ahead of need, where that pays and the host tier has room to spare."""
        share_free = self._blocks.num_free / self._blocks.num_blocks
        if self._outlook.pays_to_copy_ahead(session, now_s, share_free):
            self._host.copy_out(session, now_s, is_leaving=False)

    def _make_room_in_host(self, newcomer: EngineSession, now_s: float) -> bool:
        """Give up a session's place in the host tier, for one that has to leave the device.

        Copies made ahead of need go first. Then `auto` gives up the one expected back last, if later than the newcomer.
        """
        spare = [session for session in self._pins if session.host_ids and not session.is_copying]
        if spare:
            self._host.leave(min(spare, key=lambda session: self._outlook.remaining_s(session, now_s)))
            return True
        others = [session for session in self._host if session.request is None]
        if not others:
            return False
        victim = others[0]
        if self._policy == "auto":
            victim = max(others, key=lambda session: self._outlook.remaining_s(session, now_s))
            if self._outlook.remaining_s(victim, now_s) < self._outlook.remaining_s(newcomer, now_s):
                return False
        self._drop(victim, "drop", now_s)
        return True

    def _wake_up(self, session: EngineSession, now_s: float, num_wanted: int) -> None:
        """Its pin has lived as long as it should, or, in the host tier, it is expected back."""
        if session.state is ParkState.HOST:
            self._prefetch(session, now_s, num_wanted)
        elif session.is_copying:
            self._alarms.set(session, now_s + _SNOOZE_S)
        else:
            self._give_up(session, now_s)
            if session.hint_s is None:
                session.wakes_s = None  # nothing says any more when it will be back

    def _prefetch(self, session: EngineSession, now_s: float, num_wanted: int) -> None:
        """Bring a session back ahead of its return, if memory is ample."""
        matched = self._blocks.match(session.hashes)
        host_ids = self._host.match(session.hashes)[len(matched) :]
        reserve = num_wanted + int(_COMFORT * self._blocks.num_blocks)
        if not self._blocks.can_allocate(len(host_ids), matched, reserve=reserve):
            return
        self._blocks.acquire(matched)
        device_ids = self._blocks.allocate(len(host_ids))
        self._pin(session, matched + device_ids, now_s)
        if host_ids:
            session.is_copying = True
            self._totals.num_prefetched += 1
            self.note(session, "prefetch", now_s)
            hashes = session.hashes[len(matched) : len(session.block_ids)]
            self._host.copy_back(session, host_ids, device_ids, hashes, now_s)
        self._host.leave(session)  # its copy there stays findable, until the place is needed
        self._alarms.set(session, now_s + self._outlook.keep_s(session, now_s))

    def _pin(self, session: EngineSession, block_ids: list[int], now_s: float) -> None:
        self._pins.pin(session, block_ids, now_s)
        session.state = ParkState.RESIDENT

    def _drop(self, session: EngineSession, action: str, now_s: float, cost: ParkCost | None = None) -> None:
        self.note(session, action, now_s, cost)
        self.let_go(session, now_s)
