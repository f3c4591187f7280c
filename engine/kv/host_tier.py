"""KV blocks in host memory: a second cache of blocks, larger and slower than the device's."""

from __future__ import annotations

from collections.abc import Sequence

from .block_manager import BlockManager


class HostTier:
    """Blocks by content, as on the device: held while a session or copy needs them, then cached until reused."""

    def __init__(self, num_blocks: int, block_size: int) -> None:
        self.num_blocks = num_blocks
        self._blocks = BlockManager(num_blocks, block_size) if num_blocks else None

    @property
    def num_held(self) -> int:
        """Blocks that a session or copy needs."""
        return self._blocks.num_held if self._blocks else 0

    def match(self, hashes: Sequence[bytes]) -> list[int]:
        """The blocks of the longest prefix of `hashes` that is here."""
        return self._blocks.match(hashes) if self._blocks else []

    def take(self, hashes: Sequence[bytes]) -> tuple[list[int], int] | None:
        """Hold a block for each hash: those that are here, then empty ones. None if there is no room.

        Returns:
            The blocks, and how many of them have their content already.
        """
        if self._blocks is None:
            return None
        matched = self._blocks.match(hashes)
        num_new = len(hashes) - len(matched)
        if not self._blocks.can_allocate(num_new, matched):
            return None
        self._blocks.acquire(matched)
        return matched + self._blocks.allocate(num_new), len(matched)

    def hold(self, block_ids: Sequence[int]) -> None:
        """Add a reference to blocks."""
        if self._blocks is not None and block_ids:
            self._blocks.acquire(block_ids)

    def hold_found(self, held: list[int], hashes: Sequence[bytes]) -> list[int]:
        """Instead of the blocks held, those that the same content is found by.

        Of two copies of the same blocks made at the same time, only one can be found: hold that one.
        """
        found = self.match(hashes[: len(held)])
        self.hold(found)
        self.release(held)
        return found

    def release(self, block_ids: Sequence[int]) -> None:
        """Drop a reference to blocks."""
        if self._blocks is not None and block_ids:
            self._blocks.release(block_ids)

    def arrived(self, block_ids: Sequence[int], hashes: Sequence[bytes]) -> None:
        """Blocks have their content now."""
        for block_id, block_hash in zip(block_ids, hashes, strict=True):
            assert self._blocks is not None
            self._blocks.register(block_id, block_hash)
