"""Copies of KV blocks between the device and the host tier: what is ordered, under way, and done."""

from __future__ import annotations

from ..request import Request
from ..session import EngineSession
from .block_copy import BlockCopy
from .block_manager import BlockManager
from .host_tier import HostTier


class BlockMover:
    """Orders copies; the device makes them. The blocks on both sides are held until a copy is done."""

    def __init__(self, blocks: BlockManager, host: HostTier) -> None:
        self.num_out = 0
        """Blocks on the device whose copy out is under way."""
        self.num_leaving = 0
        """Those of them that their session lets go when it is done."""
        self._blocks = blocks
        self._host = host
        self._orders: list[BlockCopy] = []

    def take_orders(self) -> list[BlockCopy]:
        """Copies to be made, in order. Each is to be reported by `done`."""
        orders, self._orders = self._orders, []
        return orders

    def offload(self, session: EngineSession, first: int, now_s: float, *, is_leaving: bool) -> None:
        """Have the session's pinned blocks from `first` on copied into those it holds in the host tier."""
        device_ids, host_ids = session.block_ids[first:], session.host_ids[first:]
        hashes = session.hashes[first : len(session.block_ids)]
        self.num_out += len(device_ids)
        self.num_leaving += len(device_ids) * is_leaving
        number = session.num_parks
        self._order(BlockCopy("offload", device_ids, host_ids, hashes, session, number, now_s, is_leaving=is_leaving))

    def restore(
        self,
        owner: EngineSession | Request,
        host_ids: list[int],
        device_ids: list[int],
        hashes: list[bytes],
        now_s: float,
    ) -> None:
        """Have blocks copied back into blocks that the owner holds."""
        number = owner.num_parks if isinstance(owner, EngineSession) else owner.epoch
        self._order(BlockCopy("restore", device_ids, host_ids, hashes, owner, number, now_s))

    def done(self, copy: BlockCopy) -> None:
        """What a copy brought can be found from now on, and what was held for it is let go."""
        if copy.direction == "offload":
            self.num_out -= len(copy.device_ids)
            self.num_leaving -= len(copy.device_ids) * copy.is_leaving
            self._host.arrived(copy.host_ids, copy.hashes)
        else:
            for block_id, block_hash in zip(copy.device_ids, copy.hashes, strict=True):
                self._blocks.register(block_id, block_hash)
        self._blocks.release(copy.device_ids)
        self._host.release(copy.host_ids)

    def _order(self, copy: BlockCopy) -> None:
        self._blocks.acquire(copy.device_ids)
        self._host.hold(copy.host_ids)
        self._orders.append(copy)
