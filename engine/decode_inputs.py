"""What a decode step needs from the host, in one piece of memory: one copy a step, always to the same place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .request import ScheduledChunk

_WORDS = ("token_ids", "positions", "slots", "lengths", "places")
"""Fields of one 32-bit word a row, behind the seeds (two words) and the temperatures."""

_POISON = -1


@dataclass(frozen=True, slots=True)
class DecodeRowsOnDevice:
    """Views of the memory that a step reads, `[rows]` each.

    Attributes:
        seeds: int64: of the draw.
        temperatures: float32: 0 is greedy.
        token_ids: int32: below 0 where the token is in flight, and in `last_tokens`.
        positions: int32.
        slots: int32: of the sequence: its row of the page table and of `last_tokens`.
        lengths: int32: keys, this step's among them. 0 for padding.
        places: int32: where keys and values go (block * block size + offset). Below 0 for padding.
    """

    seeds: torch.Tensor
    temperatures: torch.Tensor
    token_ids: torch.Tensor
    positions: torch.Tensor
    slots: torch.Tensor
    lengths: torch.Tensor
    places: torch.Tensor

    def first(self, count: int) -> DecodeRowsOnDevice:
        """The first rows only, in the same memory."""
        return DecodeRowsOnDevice(*(getattr(self, name)[:count] for name in self.__slots__))


class _HostBuffer:
    """Memory that the host writes and the device copies from."""

    def __init__(self, num_rows: int, *, is_pinned: bool) -> None:
        self.words = torch.zeros((len(_WORDS) + 3, num_rows), dtype=torch.int32, pin_memory=is_pinned)
        array = self.words.numpy()
        self.seeds = array[:2].reshape(-1).view(np.int64)
        self.temperatures = array[2].view(np.float32)
        self.token_ids, self.positions, self.slots, self.lengths, self.places = array[3:]
        self.copied: torch.cuda.Event | None = None
        """The device has read it."""


class DecodeInputs:
    """Static inputs on the device, and two buffers on the host: one is written while the other may still be read.

    The device's memory needs no second copy: whatever writes it is queued behind the step that reads it.

    Args:
        num_rows: Most sequences of a step.
        trash_slot: A slot that belongs to no sequence, for padding.
        block_size: Tokens in a KV block.
        device: Where the steps run.
        poison: Fill buffers with -1 before they are written: what a step reads that nobody wrote fails loudly.
    """

    def __init__(
        self, num_rows: int, *, trash_slot: int, block_size: int, device: torch.device, poison: bool = False
    ) -> None:
        self._is_cuda = device.type == "cuda"
        self._buffers = [_HostBuffer(num_rows, is_pinned=self._is_cuda) for _ in range(2)]
        self._next = 0
        self._trash_slot = trash_slot
        self._block_size = block_size
        self._poison = poison
        self._words = torch.zeros((len(_WORDS) + 3, num_rows), dtype=torch.int32, device=device)
        self.on_device = DecodeRowsOnDevice(
            self._words[:2].reshape(-1).view(torch.int64),
            self._words[2].view(torch.float32),
            *self._words[3:],
        )
        # Padding only, before anything is written: graphs are recorded then.
        self._words[5], self._words[7] = trash_slot, -1

    def write(self, chunks: Sequence[ScheduledChunk], num_rows: int, seeds: Sequence[int]) -> int:
        """Fill a host buffer; padding up to `num_rows`. Returns its number, for `copy`."""
        number, self._next = self._next, 1 - self._next
        buffer = self._buffers[number]
        if buffer.copied is not None:
            buffer.copied.synchronize()  # two steps ago: long over
        if self._poison:
            buffer.words.fill_(_POISON)
        count = len(chunks)
        requests = [chunk.request for chunk in chunks]
        starts = [chunk.start for chunk in chunks]
        size = self._block_size
        buffer.seeds[:count] = seeds
        buffer.temperatures[:count] = [
            0.0 if request.sampling.is_greedy else request.sampling.temperature for request in requests
        ]
        buffer.token_ids[:count] = [
            request.token_ids[start] if start < len(request.token_ids) else -1
            for request, start in zip(requests, starts, strict=True)
        ]
        buffer.positions[:count] = starts
        buffer.slots[:count] = [request.slot for request in requests]
        buffer.lengths[:count] = buffer.positions[:count] + 1
        buffer.places[:count] = [
            request.block_ids[start // size] * size + start % size
            for request, start in zip(requests, starts, strict=True)
        ]
        padding = slice(count, num_rows)
        for field in (buffer.seeds, buffer.temperatures, buffer.token_ids, buffer.positions, buffer.lengths):
            field[padding] = 0
        buffer.slots[padding] = self._trash_slot
        buffer.places[padding] = -1
        return number

    def copy(self, number: int) -> None:
        """Queue the copy of a written buffer to the device."""
        buffer = self._buffers[number]
        self._words.copy_(buffer.words, non_blocking=True)
        if self._is_cuda:
            buffer.copied = torch.cuda.Event()
            buffer.copied.record()
