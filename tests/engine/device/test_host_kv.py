"""Blocks that go to host memory and come back are what they were."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from abatch.engine.attention.kv_cache import KVCache, KVShape
from abatch.engine.device.host_kv import HostKV, _runs
from abatch.engine.kv.block_copy import BlockCopy, CopyDirection
from abatch.engine.kv.host_tier import HostTier
from abatch.engine.session import EngineSession
from hypothesis import given
from hypothesis import strategies as st

_PAIRS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=30)


def cache(num_blocks: int, dtype: torch.dtype = torch.float32) -> KVCache:
    """One full of noise."""
    result = KVCache(KVShape(3, 2, 5), num_blocks, 4, dtype=dtype, device=torch.device("cpu"))
    result.data.normal_(generator=torch.Generator().manual_seed(1))
    return result


def order(direction: CopyDirection, device_ids: list[int], host_ids: list[int]) -> BlockCopy:
    return BlockCopy(direction, device_ids, host_ids, [b""] * len(device_ids), EngineSession("s"), 0, 0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@given(data=st.data())
def test_the_round_trip_is_exact_bit_for_bit_and_touches_nothing_else(dtype: torch.dtype, data: st.DataObject) -> None:
    num_device, num_host = 12, 9
    ids = st.permutations(range(num_device))
    count = data.draw(st.integers(1, num_host))
    sources, targets = data.draw(ids)[:count], data.draw(ids)[:count]
    host_ids = data.draw(st.permutations(range(num_host)))[:count]
    device = cache(num_device, dtype)
    host = HostKV(device, num_host)
    host._data.fill_(7.0)
    before, nothing = device.data.clone(), host._data.clone()

    out = host.copy(order("offload", sources, host_ids))
    assert out.is_done()
    assert out.duration_s() >= 0
    assert torch.equal(device.data.view(torch.uint8), before.view(torch.uint8)), "copying out changes nothing here"
    others = [block for block in range(num_host) if block not in host_ids]
    assert torch.equal(host._data[others], nothing[others])

    device.data[sources] = 3.0  # somebody else has the blocks now
    before[sources] = 3.0
    expected = before.clone()
    expected[targets] = cache(num_device, dtype).data[sources]
    host.copy(order("restore", targets, host_ids))
    assert torch.equal(device.data.view(torch.uint8), expected.view(torch.uint8))


def test_what_is_no_number_comes_back_as_it_was() -> None:
    device = cache(4)
    device.data[1].view(torch.int32).random_(generator=torch.Generator().manual_seed(3))
    bits = device.data[1].view(torch.int32).clone()
    host = HostKV(device, 2)
    host.copy(order("offload", [1], [0]))
    host.copy(order("restore", [3], [0]))
    assert torch.equal(device.data[3].view(torch.int32), bits)


def test_a_host_tier_of_nothing_takes_no_memory() -> None:
    assert HostKV(cache(4), 0)._data.numel() == 0


@given(_PAIRS)
def test_runs_are_all_the_blocks_in_order_and_no_longer_than_they_lie_side_by_side(
    pairs: list[tuple[int, int]],
) -> None:
    sources, targets = [source for source, _ in pairs], [target for _, target in pairs]
    runs = list(_runs(sources, targets))
    assert [(source + n, target + n) for source, target, length in runs for n in range(length)] == pairs
    assert all(length > 0 for _, _, length in runs)
    for (source, target, length), (next_source, next_target, _) in pairwise(runs):
        assert (source + length, target + length) != (next_source, next_target), "two copies where one would do"


@pytest.mark.parametrize(
    ("sources", "targets", "runs"),
    [
        ([], [], []),
        ([4, 5, 6], [0, 1, 2], [(4, 0, 3)]),
        ([4, 5, 6], [2, 1, 0], [(4, 2, 1), (5, 1, 1), (6, 0, 1)]),
        ([4, 5, 7, 8], [0, 1, 2, 3], [(4, 0, 2), (7, 2, 2)]),
        ([4, 5, 6, 7], [0, 1, 8, 9], [(4, 0, 2), (6, 8, 2)]),
    ],
)
def test_runs_by_hand(sources: list[int], targets: list[int], runs: list[tuple[int, int, int]]) -> None:
    assert list(_runs(sources, targets)) == runs


# Which blocks of the host are whose.


def test_the_host_tier_holds_what_is_counted_on_and_keeps_the_rest_until_it_is_needed() -> None:
    tier = HostTier(4, 1)
    taken = tier.take([b"a", b"b", b"c"])
    assert taken is not None
    assert (len(taken[0]), taken[1], tier.num_held) == (3, 0, 3)
    assert tier.match([b"a", b"b", b"c"]) == [], "nothing has arrived yet"
    tier.arrived(taken[0], [b"a", b"b", b"c"])
    assert tier.match([b"a", b"b", b"x"]) == taken[0][:2]
    again = tier.take([b"a", b"b", b"d"])
    assert again is not None
    assert (again[0][:2], again[1], tier.num_held) == (taken[0][:2], 2, 4)
    assert tier.take([b"e"]) is None, "all are held"
    tier.release(taken[0])
    assert tier.num_held == 3
    assert tier.match([b"a", b"b", b"c"]) == taken[0], "c is nobody's, but still there"
    assert tier.take([b"e"]) is not None
    assert tier.match([b"a", b"b", b"c"]) == taken[0][:2]


def test_without_a_host_tier_nothing_is_there_and_nothing_fits() -> None:
    tier = HostTier(0, 1)
    assert (tier.match([b"a"]), tier.take([b"a"]), tier.num_held) == ([], None, 0)
    tier.hold([])
    tier.release([])
