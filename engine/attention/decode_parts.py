"""Shares the keys of sequences in decode out among programs, by how long the sequences of the batch are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..integers import ceil_div

_MOST_PARTS = 32
"""Of one sequence: one program puts them together in the end."""


def decode_parts(lengths: NDArray[np.int32], *, tile: int, most_extra: int) -> NDArray[np.int32]:
    """Parts as even as tiles allow, and no more of them than there are sequences and `most_extra` together.

    A long sequence among short ones gets the programs that these have no use for.

    Args:
        lengths: `[sequences]`: keys of each, at least one.
        tile: Keys that a program reads at a time.
        most_extra: Programs for which there is room beside one for each sequence.

    Returns:
        `[3, parts]`: the sequence of each part, its number among those of its sequence, and how many these are. The
        parts of a sequence follow each other.
    """
    tiles = -(-lengths.astype(np.int64) // tile)
    # With this many tiles a part, there are at most `most_extra` whole ones, and one of each sequence that is not.
    tiles_a_part = max(1, ceil_div(int(tiles.sum()), most_extra)) if most_extra else max(1, int(tiles.max(initial=0)))
    counts = np.minimum(-(-tiles // tiles_a_part), _MOST_PARTS)
    sequences = np.repeat(np.arange(len(lengths)), counts)
    numbers = np.arange(len(sequences)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.stack([sequences, numbers, counts[sequences]]).astype(np.int32)
