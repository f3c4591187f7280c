"""KV blocks: which are held, and which still carry a prefix worth keeping."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b

from ..errors import ConfigurationError
from ..integers import ceil_div


class BlockManager:
    """Hands out KV blocks, counts references, and finds blocks that already hold a prompt's prefix.

    A block is *held* (reference count above 0) or *free*. A free block may still be *cached*: its content stays
    valid until it is handed out again, least recently freed first. Blocks are identified by a chained hash
    (`hash_block`): equal hashes mean equal tokens in equal positions after equal predecessors.
    """

    def __init__(self, num_blocks: int, block_size: int, *, prefix_cache: bool = True) -> None:
        if num_blocks < 1 or block_size < 1:
            raise ConfigurationError(f"need at least one block of one token, not {num_blocks} of {block_size}")
        self.num_blocks = num_blocks
        self.block_size = block_size
        self.prefix_cache = prefix_cache
        self._ref_counts = [0] * num_blocks
        # Insertion order is the order of reuse: the front was freed longest ago.
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(num_blocks))
        self._hash_of: dict[int, bytes] = {}
        self._block_of: dict[bytes, int] = {}

    @property
    def num_free(self) -> int:
        """Blocks that are not held (cached or not)."""
        return len(self._free)

    @property
    def num_held(self) -> int:
        """Blocks at least one request holds."""
        return self.num_blocks - len(self._free)

    @property
    def num_cached(self) -> int:
        """Blocks, held or free, whose content can be found by hash."""
        return len(self._block_of)

    def blocks_for(self, num_tokens: int) -> int:
        """Blocks that `num_tokens` tokens need."""
        return ceil_div(num_tokens, self.block_size)

    def hash_block(self, parent: bytes, token_ids: Sequence[int]) -> bytes:
        """The identity of a full block: its tokens and, through `parent`, everything before it.

        A cryptographic hash, because a collision would answer one user with another's context.
        """
        return blake2b(array("q", token_ids).tobytes(), key=parent, digest_size=16).digest()

    def extend_hashes(self, hashes: list[bytes], token_ids: Sequence[int], num_tokens: int) -> None:
        """Append to `hashes` those of the full blocks among the first `num_tokens` tokens that it lacks."""
        size = self.block_size
        for index in range(len(hashes), num_tokens // size):
            parent = hashes[-1] if hashes else b""
            hashes.append(self.hash_block(parent, token_ids[index * size : (index + 1) * size]))

    def match(self, hashes: Sequence[bytes]) -> list[int]:
        """The blocks of the longest cached prefix of `hashes`. They are not held yet: see `acquire`."""
        matched: list[int] = []
        if self.prefix_cache:
            for block_hash in hashes:
                block_id = self._block_of.get(block_hash)
                if block_id is None:
                    break
                matched.append(block_id)
        return matched

    def can_allocate(self, num_new: int, matched: Sequence[int] = (), *, reserve: int = 0) -> bool:
        """Whether `num_new` blocks are there once `matched` are held, leaving `reserve` free."""
        revived = sum(1 for block_id in matched if self._ref_counts[block_id] == 0)
        return self.num_free - revived - reserve >= num_new

    def acquire(self, block_ids: Sequence[int]) -> None:
        """Hold blocks found by `match`."""
        for block_id in block_ids:
            if self._ref_counts[block_id] == 0:
                del self._free[block_id]
            self._ref_counts[block_id] += 1

    def allocate(self, count: int) -> list[int]:
        """Take `count` blocks, forgetting the least recently used cached content where needed.

        Raises:
            RuntimeError: fewer are free; the scheduler checks first, so this is a bug.
        """
        if count > self.num_free:
            raise RuntimeError(f"asked for {count} KV blocks with {self.num_free} free")
        taken = []
        for _ in range(count):
            block_id, _ = self._free.popitem(last=False)
            stale = self._hash_of.pop(block_id, None)
            if stale is not None:
                del self._block_of[stale]
            self._ref_counts[block_id] = 1
            taken.append(block_id)
        return taken

    def register(self, block_id: int, block_hash: bytes) -> None:
        """Make a held, completely computed block findable. A hash already known keeps its first block."""
        if self.prefix_cache and block_hash not in self._block_of and block_id not in self._hash_of:
            self._hash_of[block_id] = block_hash
            self._block_of[block_hash] = block_id

    def release(self, block_ids: Sequence[int]) -> None:
        """Let go of a sequence's blocks.

        The tail is queued for reuse before the head: a prefix is useful only as far as it is whole.
        """
        for block_id in reversed(block_ids):
            count = self._ref_counts[block_id] - 1
            if count < 0:
                raise RuntimeError(f"KV block {block_id} released more often than held")
            self._ref_counts[block_id] = count
            if count == 0:
                self._free[block_id] = None
                if block_id not in self._hash_of:
                    # Nothing to lose: reuse it before any cached block.
                    self._free.move_to_end(block_id, last=False)
