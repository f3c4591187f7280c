"""Blocks for a request that joins: what is found of its tokens, what is brought back, and what is new."""

from __future__ import annotations

from ..kv.block_manager import BlockManager
from ..parking.lot import ParkingLot
from ..request import Request


class PrefixHolder:
    """Gives requests their blocks, and makes what they compute findable for others."""

    def __init__(self, blocks: BlockManager, parking: ParkingLot) -> None:
        self.num_cached_tokens = 0
        """Tokens that did not have to be computed."""
        self._blocks = blocks
        self._parking = parking

    @property
    def num_running_blocks(self) -> int:
        """Blocks held for anything but parked sessions."""
        return self._blocks.num_held - self._parking.num_pinned_blocks

    def take(self, request: Request, reserve: int, now_s: float) -> int | None:
        """Hold blocks for all known tokens, starting from the cached prefix; None when too few are free.

        Parked sessions give up theirs where that helps.

        Args:
            request: The one that joins.
            reserve: Blocks that must stay free.
            now_s: Now.

        Returns:
            How many of the blocks are being copied back from the host tier.
        """
        blocks, parking, known = self._blocks, self._parking, len(request.token_ids)
        blocks.extend_hashes(request.block_hashes, request.token_ids, known)
        # At least one token must be computed, or there would be no logits to sample from.
        hashes = request.block_hashes[: (known - 1) // blocks.block_size]
        matched = blocks.match(hashes)
        num_new = blocks.blocks_for(known) - len(matched)
        while not blocks.can_allocate(num_new, matched, reserve=reserve):
            if not parking.make_room(now_s, self.num_running_blocks, own=request.parked_session, matched=matched):
                return None
        blocks.acquire(matched)
        request.block_ids = matched + blocks.allocate(num_new)
        request.num_registered_blocks = len(matched)
        host_ids = parking.restorable(hashes, len(matched))
        if host_ids:
            parking.restore(request, host_ids, len(matched), now_s)
        request.num_computed = (len(matched) + len(host_ids)) * blocks.block_size
        self.num_cached_tokens += request.num_computed
        if request.num_preemptions == 0:
            request.num_cached_tokens = request.num_computed
        return len(host_ids)

    def register(self, request: Request, num_computed: int) -> None:
        """`num_computed` tokens of the request are computed: others may use the full blocks among them."""
        blocks = self._blocks
        num_full = num_computed // blocks.block_size
        if num_full > request.num_registered_blocks:
            blocks.extend_hashes(request.block_hashes, request.token_ids, num_computed)
            for index in range(request.num_registered_blocks, num_full):
                blocks.register(request.block_ids[index], request.block_hashes[index])
            request.num_registered_blocks = num_full
