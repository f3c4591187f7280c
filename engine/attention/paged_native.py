"""Paged attention on CPU by our kernels in C++ (`engine/native/attention.h`), which gather nothing."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..native.layer_kernels import pointer
from ..native.library import Heads, NativeLibrary, Pages, Step
from .base import AttentionSettings, ChunkLayout, PackedHeads, Rotation
from .kv_cache import KVCache
from .page_table import PageTable
from .row_places import cut_into_tiles, place_numbers

_LINES = 32
"""Queries of a tile that share the keys of a head: their sums and the keys stay in the second level cache."""


class NativeBackend:
    """See `AttentionBackend`. Decodes and chunks of prompts go through the same kernel.

    Args:
        cache: The pages, on a CPU.
        library: The kernels of their dtype.
        num_slots: Sequences that may run at once.
        max_num_pages: Most pages of a sequence.
        num_threads: That share the work.
    """

    name = "native"

    def __init__(
        self, cache: KVCache, library: NativeLibrary, *, num_slots: int, max_num_pages: int, num_threads: int
    ) -> None:
        self.cache = cache
        self.library = library
        self.num_threads = num_threads
        self.page_table = PageTable(num_slots, max_num_pages, cache.data.device)
        self._tile_size = max(1, _LINES // cache.shape.group_size)
        stride = cache.data.stride(0)
        self.pages = [
            Pages(cache.keys(layer).data_ptr(), cache.values(layer).data_ptr(), stride, cache.block_size)
            for layer in range(cache.shape.num_layers)
        ]

    def plan(self, chunks: Sequence[ChunkLayout]) -> NativeStep:
        """Cut chunks into tiles, and bring the page table up to date."""
        self.page_table.follow(chunks)
        table = self.page_table.table
        tiles = cut_into_tiles(chunks, self._tile_size)
        places = torch.tensor(place_numbers(chunks, self.cache.block_size), dtype=torch.int64)
        columns = torch.tensor(list(zip(*tiles, strict=True)), dtype=torch.int32)
        record = Step(
            num_rows=places.numel(),
            num_tiles=len(tiles),
            places=places.data_ptr(),
            tile_rows=columns[0].data_ptr(),
            tile_positions=columns[1].data_ptr(),
            tile_counts=columns[2].data_ptr(),
            tile_slots=columns[3].data_ptr(),
            page_table=table.data_ptr(),
            table_width=table.shape[1],
        )
        return NativeStep(self, record, (places, columns))


def heads_record(heads: PackedHeads, settings: AttentionSettings) -> Heads:
    """How a layer attends, as the kernel knows it. It points into the weights of the norms."""
    return Heads(
        heads.num_heads,
        heads.num_kv_heads,
        heads.head_size,
        pointer(heads.query_norm),
        pointer(heads.key_norm),
        heads.epsilon,
        settings.scaling,
        settings.sliding_window or 0,
        settings.softcap or 0.0,
    )


@dataclass(frozen=True, slots=True)
class NativeStep:
    """See `StepAttention`. `record` points into the tensors of `memory`."""

    backend: NativeBackend
    record: Step
    memory: tuple[torch.Tensor, ...]

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        settings: AttentionSettings,
    ) -> torch.Tensor:
        """See `StepAttention.attend`."""
        heads = PackedHeads(num_heads=query.shape[1], num_kv_heads=key.shape[1], head_size=query.shape[2])
        packed = torch.cat([query, key, value], dim=1).flatten(1)
        none = packed.new_empty(len(packed), 0)
        return self.attend_packed(layer, packed, heads, Rotation(none, none), settings).view(query.shape)

    def attend_packed(
        self,
        layer: int,
        packed: torch.Tensor,
        heads: PackedHeads,
        rotation: Rotation,
        settings: AttentionSettings,
    ) -> torch.Tensor:
        """See `StepAttention.attend_packed`."""
        backend = self.backend
        packed = packed.contiguous()
        rotation = self.rotate_by(rotation)
        result = packed.new_empty(packed.shape[0], heads.num_heads * heads.head_size)
        backend.library.attend(
            result.data_ptr(),
            packed.data_ptr(),
            ctypes.byref(heads_record(heads, settings)),
            ctypes.byref(backend.pages[layer]),
            ctypes.byref(self.record),
            backend.num_threads,
        )
        return result

    def rotate_by(self, rotation: Rotation) -> Rotation:
        """What the next layers rotate by. The result must be kept until they have run."""
        if not (rotation.cos.is_contiguous() and rotation.sin.is_contiguous()):
            rotation = Rotation(rotation.cos.contiguous(), rotation.sin.contiguous())
        self.record.cos = rotation.cos.data_ptr()
        self.record.sin = rotation.sin.data_ptr()
        self.record.rotated = rotation.cos.shape[-1]
        return rotation
