"""Where the keys and values of a step's rows go, and in which pieces its rows are attended to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .base import ChunkLayout
from .transfer import to_device


def place_numbers(chunks: Sequence[ChunkLayout], block_size: int) -> list[int]:
    """By row of the packed step, `[T]`, its place: its block's id times `block_size`, plus its offset in the block."""
    return [
        chunk.block_ids[position // block_size] * block_size + position % block_size
        for chunk in chunks
        for position in range(chunk.start, chunk.end)
    ]


def cut_into_tiles(chunks: Sequence[ChunkLayout], size: int) -> list[tuple[int, int, int, int]]:
    """(first row, first position, tokens, slot) of each piece of at most `size` tokens.

    Longest sequences first: what takes longest should not be begun last.
    """
    return [
        (chunk.offset + first, chunk.start + first, min(size, chunk.num_tokens - first), chunk.slot)
        for chunk in sorted(chunks, key=lambda chunk: -chunk.end)
        for first in reversed(range(0, chunk.num_tokens, size))
    ]


@dataclass(frozen=True, slots=True)
class RowPlaces:
    """The places of a step's rows on the device: `[T]` each, of integers."""

    blocks: torch.Tensor
    offsets: torch.Tensor

    @classmethod
    def of(cls, chunks: Sequence[ChunkLayout], block_size: int, device: torch.device) -> RowPlaces:
        """The places of these chunks' rows."""
        numbers = to_device(place_numbers(chunks, block_size), device, torch.long)
        return cls(numbers // block_size, numbers % block_size)

    def store(self, pages: torch.Tensor, rows: torch.Tensor) -> None:
        """Write rows `[T, KV heads, head size]` to their places in `[blocks, block size, KV heads, head size]`."""
        pages[self.blocks, self.offsets] = rows
