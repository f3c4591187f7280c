"""The page table on the device says what the requests' lists say, by telling it only what is new."""

from __future__ import annotations

from random import Random

import pytest
import torch
from abatch.engine.attention.base import ChunkLayout
from abatch.engine.attention.page_table import PageTable


def chunk(block_ids: list[int], slot: int) -> ChunkLayout:
    return ChunkLayout(0, 1, 0, block_ids, slot)


@pytest.mark.parametrize("seed", range(20))
def test_rows_follow_lists_that_grow_and_slots_that_change_hands(seed: int) -> None:
    random = Random(seed)
    table = PageTable(4, 12, torch.device("cpu"))
    lists: dict[int, list[int]] = {}
    for _ in range(60):
        slot = random.randrange(4)
        if slot not in lists or random.random() < 0.2:
            lists[slot] = [random.randrange(100) for _ in range(random.randint(1, 6))]
        elif len(lists[slot]) < 12:
            lists[slot] += [random.randrange(100)]
        chosen = random.sample(sorted(lists), random.randint(1, len(lists)))
        table.follow([chunk(lists[slot], slot) for slot in chosen])
        for slot in chosen:
            assert table.table[slot, : len(lists[slot])].tolist() == lists[slot]


def test_a_new_list_of_the_same_length_is_noticed() -> None:
    """Preempted, and back in the same slot with as many pages, at other places."""
    table = PageTable(1, 4, torch.device("cpu"))
    table.follow([chunk([1, 2], 0)])
    table.follow([chunk([3, 4], 0)])
    assert table.table[0, :2].tolist() == [3, 4]


def test_only_what_is_new_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    table, block_ids = PageTable(2, 4, torch.device("cpu")), [1, 2]
    table.follow([chunk(block_ids, 1)])
    table.table[1, 0] = 77
    table.follow([chunk(block_ids, 1)])
    block_ids += [5]
    table.follow([chunk(block_ids, 1)])
    assert table.table[1].tolist() == [77, 2, 5, -1]


def test_more_pages_than_a_row_holds_are_refused() -> None:
    with pytest.raises(ValueError, match="holds 2"):
        PageTable(1, 2, torch.device("cpu")).follow([chunk([1, 2, 3], 0)])
