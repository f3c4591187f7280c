"""Counts by block of time: nothing is lost, whatever the order."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import pytest
from abatch.reports.statistics.log_buckets import BUCKET_WIDTH, bucket_us
from abatch.reports.statistics.time_blocks import TimeBlocks, merged
from hypothesis import given
from hypothesis import strategies as st

Added = tuple[float, list[int]]

_TIMES_S = st.one_of(st.floats(-1, 40), st.floats(0, 5000))
_ADDED: st.SearchStrategy[list[Added]] = st.lists(
    st.tuples(_TIMES_S, st.lists(st.integers(0, 3_600_000_000), min_size=1, max_size=5)), min_size=1, max_size=40
)


def filled(added: Sequence[Added]) -> TimeBlocks:
    blocks = TimeBlocks()
    for at_s, values_us in added:
        blocks.add(at_s, values_us)
    return blocks


def expected_blocks(added: Sequence[Added]) -> list[Counter[int]]:
    """In one go, with a block length that was known from the start."""
    block_s = 0.25
    while max(at_s for at_s, _ in added) >= 64 * block_s:
        block_s *= 2
    by_block: dict[int, Counter[int]] = {}
    for at_s, values_us in added:
        counts = by_block.setdefault(math.floor(max(at_s, 0) / block_s), Counter())
        counts.update(int(math.log(max(value_us, 1)) * 200) for value_us in values_us)
    return [by_block.get(index, Counter()) for index in range(min(by_block), max(by_block) + 1)]


@given(_ADDED)
def test_every_value_is_in_the_block_of_its_time_in_whatever_order_they_came(added: list[Added]) -> None:
    blocks = filled(added).blocks()
    assert blocks == expected_blocks(added)
    assert len(blocks) <= 64
    assert sum(block.total() for block in blocks) == sum(len(values_us) for _, values_us in added)


@given(_ADDED, st.lists(st.integers(0, 3), min_size=40, max_size=40), st.permutations(range(4)))
def test_parts_merged_in_any_order_are_the_whole(added: list[Added], parts: list[int], order: list[int]) -> None:
    split: list[list[Added]] = [[] for _ in range(4)]
    for item, part in zip(added, parts, strict=False):
        split[part].append(item)
    blocks = [filled(part) for part in split]
    before = [part.blocks() for part in blocks]
    total = merged(blocks[index] for index in order)
    assert total.blocks() == expected_blocks(added)
    assert total.block_s == filled(added).block_s
    assert [part.blocks() for part in blocks] == before, "the parts are left as they are"
    into = blocks[order[0]]
    for index in order[1:]:
        into.merge(blocks[index])
    assert into.blocks() == expected_blocks(added)


@given(st.floats(-2, 100), st.lists(st.integers(0, 3_000_000), min_size=1, max_size=200))
def test_a_gap_belongs_to_the_block_in_which_it_began(start_s: float, gaps_us: list[int]) -> None:
    one_by_one, at_s = TimeBlocks(), start_s
    for gap_us in gaps_us:
        one_by_one.add(at_s, [gap_us])
        at_s += gap_us / 1e6
    blocks = TimeBlocks()
    blocks.add_in_turn(start_s, gaps_us)
    assert blocks.blocks() == one_by_one.blocks()
    assert blocks.block_s == one_by_one.block_s


@given(st.integers(1, 3_600_000_000))
def test_a_bucket_is_within_half_a_percent_of_its_values(value_us: int) -> None:
    ((bucket, count),) = filled([(0.0, [value_us])]).blocks()[0].items()
    assert count == 1
    assert bucket_us(bucket) == pytest.approx(value_us, rel=0.005)
    assert bucket_us(bucket + 1) / bucket_us(bucket) == pytest.approx(BUCKET_WIDTH)


@pytest.mark.parametrize(("length_s", "block_s"), [(10, 0.25), (16, 0.25), (17, 0.5), (60, 1.0), (3600, 64.0)])
def test_a_run_has_32_to_64_blocks_once_it_has_outgrown_short_ones(length_s: int, block_s: float) -> None:
    blocks = filled([(tenth / 10, [1000]) for tenth in range(length_s * 10)])
    assert blocks.block_s == block_s
    assert len(blocks.blocks()) == math.ceil(length_s / block_s)
    assert length_s < 16 or 32 <= len(blocks.blocks()) <= 64


def test_the_time_before_the_first_value_is_no_block_and_silence_after_it_is_one() -> None:
    blocks = filled([(3.0, [5]), (4.0, [5])]).blocks()
    assert [block.total() for block in blocks] == [1, 0, 0, 0, 1]
    assert TimeBlocks().blocks() == []
