"""Pages, references and prefixes."""

from __future__ import annotations

import pytest
from abatch.engine.kv.block_manager import BlockManager


def cached(manager: BlockManager, tokens: list[int]) -> list[int]:
    """Allocate, register and release the blocks of a sequence; their ids."""
    hashes: list[bytes] = []
    manager.extend_hashes(hashes, tokens, len(tokens))
    block_ids = manager.allocate(manager.blocks_for(len(tokens)))
    for block_id, block_hash in zip(block_ids, hashes, strict=False):
        manager.register(block_id, block_hash)
    manager.release(block_ids)
    return block_ids


def hashes_of(manager: BlockManager, tokens: list[int]) -> list[bytes]:
    hashes: list[bytes] = []
    manager.extend_hashes(hashes, tokens, len(tokens))
    return hashes


def test_a_released_prefix_is_found_until_its_blocks_are_needed() -> None:
    manager = BlockManager(4, 2)
    block_ids = cached(manager, [1, 2, 3, 4])
    assert manager.match(hashes_of(manager, [1, 2, 3, 4, 5, 6])) == block_ids
    manager.allocate(4)
    assert manager.match(hashes_of(manager, [1, 2, 3, 4])) == []


def test_uncached_blocks_are_reused_before_cached_ones_and_tails_before_heads() -> None:
    manager = BlockManager(5, 2)
    head, tail = cached(manager, [1, 2, 3, 4])
    assert set(manager.allocate(3)).isdisjoint({head, tail})
    assert manager.allocate(1) == [tail]
    assert manager.match(hashes_of(manager, [1, 2, 3, 4])) == [head]


def test_the_same_tokens_after_other_tokens_are_another_block() -> None:
    manager = BlockManager(8, 2)
    cached(manager, [1, 2, 3, 4])
    assert manager.match(hashes_of(manager, [9, 9, 3, 4])) == []
    assert len(manager.match(hashes_of(manager, [1, 2, 9, 9]))) == 1
    assert manager.match(hashes_of(manager, [3, 4])) == [], "the same tokens at another place"


def test_the_least_recently_used_prefix_goes_first() -> None:
    manager = BlockManager(2, 1)
    cached(manager, [1])
    cached(manager, [2])
    found = manager.match(hashes_of(manager, [1]))
    manager.acquire(found)
    manager.release(found)
    manager.allocate(1)
    assert manager.match(hashes_of(manager, [1])) == found
    assert manager.match(hashes_of(manager, [2])) == []


def test_shared_blocks_are_free_when_the_last_holder_lets_go() -> None:
    manager = BlockManager(2, 2)
    (block_id,) = cached(manager, [1, 2])
    manager.acquire([block_id])
    manager.acquire([block_id])
    assert manager._ref_counts[block_id] == 2
    manager.release([block_id])
    assert manager.num_free == 1
    manager.release([block_id])
    assert manager.num_free == 2


def test_releasing_or_taking_too_much_is_a_bug_that_shows() -> None:
    manager = BlockManager(2, 2)
    with pytest.raises(RuntimeError, match="released more often"):
        manager.release([0])
    with pytest.raises(RuntimeError, match="2 free"):
        manager.allocate(3)


def test_blocks_to_be_revived_do_not_count_as_free() -> None:
    manager = BlockManager(3, 1)
    matched = cached(manager, [1, 2])
    assert manager.can_allocate(1, matched)
    assert not manager.can_allocate(2, matched)
    assert not manager.can_allocate(1, matched, reserve=1)


def test_without_a_prefix_cache_nothing_is_found() -> None:
    manager = BlockManager(3, 1, prefix_cache=False)
    cached(manager, [1, 2])
    assert manager.match(hashes_of(manager, [1, 2])) == []
    assert manager.num_cached == 0
