"""The host tier's side of parking: whose KV is there, and the copies to it and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..kv.block_copy import BlockCopy
from ..kv.block_manager import BlockManager
from ..kv.block_mover import BlockMover
from ..kv.host_tier import HostTier
from ..request import Request
from ..session import EngineSession, ParkingTotals
from .config import ParkingConfig


class HostSide:
    """Sessions parked in the host tier, and copies between it and the device. Counts them in `totals`."""

    def __init__(self, config: ParkingConfig, blocks: BlockManager, totals: ParkingTotals) -> None:
        self._tier = HostTier(config.host_num_blocks, blocks.block_size)
        self._mover = BlockMover(blocks, self._tier)
        self._block_bytes = config.block_bytes
        self._totals = totals
        self._sessions: dict[EngineSession, None] = {}

    def __iter__(self) -> Iterator[EngineSession]:
        """Sessions parked here and not on the device, the first to come first."""
        return iter(self._sessions)

    @property
    def num_blocks(self) -> int:
        """KV blocks of the host tier."""
        return self._tier.num_blocks

    @property
    def num_held(self) -> int:
        """Those that a session or a copy under way counts on."""
        return self._tier.num_held

    @property
    def num_out(self) -> int:
        """Blocks on the device whose copy out is under way."""
        return self._mover.num_out

    @property
    def num_leaving(self) -> int:
        """Those of them that their session lets go when it is done."""
        return self._mover.num_leaving

    def match(self, hashes: Sequence[bytes]) -> list[int]:
        """The blocks of the longest prefix of `hashes` that is here."""
        return self._tier.match(hashes)

    def enter(self, session: EngineSession) -> None:
        """All of a session is here, and it holds nothing on the device any more."""
        self._sessions[session] = None

    def leave(self, session: EngineSession) -> None:
        """Hold no place here for a session; what it had stays findable until the place is needed."""
        self._sessions.pop(session, None)
        self._tier.release(session.host_ids)
        session.host_ids = []

    def take_orders(self) -> list[BlockCopy]:
        """Copies to be made, in order. Each is to be reported by `done`."""
        return self._mover.take_orders()

    def copy_out(self, session: EngineSession, now_s: float, *, is_leaving: bool) -> int | None:
        """Have a pinned session copied here; blocks that are here already are shared.

        Returns:
            How many blocks there are to copy; None if there is no room.
        """
        taken = self._tier.take(session.hashes[: len(session.block_ids)])
        if taken is None:
            return None
        session.host_ids, num_there = taken
        num_missing = len(session.host_ids) - num_there
        if num_missing:
            session.is_copying = True
            self._totals.offloaded_bytes += num_missing * self._block_bytes
            self._mover.offload(session, num_there, now_s, is_leaving=is_leaving)
        return num_missing

    def copy_back(
        self,
        owner: EngineSession | Request,
        host_ids: list[int],
        device_ids: list[int],
        hashes: list[bytes],
        now_s: float,
    ) -> None:
        """Have blocks copied into blocks on the device that the owner holds."""
        self._totals.restored_bytes += len(host_ids) * self._block_bytes
        self._mover.restore(owner, host_ids, device_ids, hashes, now_s)

    def done(self, copy: BlockCopy, now_s: float) -> EngineSession | None:
        """A copy is done. The session it was for, if that is still parked as it was when the copy was ordered."""
        self._mover.done(copy)
        owner = copy.owner
        if isinstance(owner, Request):
            if owner.parked_session is not None and owner.num_preemptions == 0:
                self._totals.restore_wait_s += now_s - copy.ordered_s
            return None
        if owner.num_parks != copy.number:
            return None
        owner.is_copying = False
        owner.host_ids = self._tier.hold_found(owner.host_ids, owner.hashes)
        return owner
