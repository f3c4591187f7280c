"""How the keys of a batch's decodes are shared out among programs."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from abatch.engine.attention.decode_parts import decode_parts
from abatch.engine.attention.paged_triton import resident_programs


def counts_of(lengths: list[int], most_extra: int) -> list[int]:
    """Parts by sequence."""
    sequences, numbers, counts = decode_parts(np.array(lengths, dtype=np.int32), tile=64, most_extra=most_extra)
    found = [int((sequences == index).sum()) for index in range(len(lengths))]
    assert numbers.tolist() == [number for count in found for number in range(count)]
    assert counts.tolist() == [count for count in found for _ in range(count)]
    return found


@pytest.mark.parametrize(
    ("lengths", "most_extra", "expected"),
    [
        ([], 49, []),
        ([1], 49, [1]),
        ([1024], 49, [16]),
        ([8192], 49, [32]),
        ([1024] * 32, 49, [2] * 32),
        ([1024] * 256, 49, [1] * 256),
        ([100, 8192, 100], 12, [1, 12, 1]),
        ([8192, 64, 64], 0, [1, 1, 1]),
    ],
    ids=["none", "one key", "a tile each", "no more than 32", "even", "as many as programs", "one long", "no room"],
)
def test_parts_follow_lengths(lengths: list[int], most_extra: int, expected: list[int]) -> None:
    assert counts_of(lengths, most_extra) == expected


@pytest.mark.parametrize("seed", range(5))
def test_parts_are_even_and_fit_the_room_for_them(seed: int) -> None:
    """Recorded steps have room for so many, whatever the lengths."""
    random = Random(seed)
    for _ in range(50):
        lengths = [random.randint(1, random.choice([70, 900, 9000])) for _ in range(random.randint(1, 40))]
        most_extra = random.randint(1, 60)
        counts = counts_of(lengths, most_extra)
        assert min(counts) >= 1
        assert sum(counts) <= len(lengths) + most_extra
        tiles = [-(-length // 64) for length in lengths]
        fair = -(-sum(tiles) // most_extra)
        assert all(count == 32 or -(-tile // count) <= fair for tile, count in zip(tiles, counts, strict=True))


@pytest.mark.parametrize(
    ("registers", "num_warps", "shared_bytes", "expected"),
    [(168, 4, 66_000, 3), (32, 4, 0, 16), (168, 4, 20_000, 3), (24, 4, 1024, 16), (255, 16, 0, 1), (96, 4, 200_000, 1)],
    ids=["both", "warps", "registers", "warps again", "never none", "shared memory"],
)
def test_programs_that_a_multiprocessor_has_room_for(
    registers: int, num_warps: int, shared_bytes: int, expected: int
) -> None:
    """Of an H100: 65,536 registers, 228 KiB of shared memory, 64 warps."""
    found = resident_programs(registers, num_warps, shared_bytes, shared_bytes=228 * 1024, most_warps=64)
    assert found == expected
