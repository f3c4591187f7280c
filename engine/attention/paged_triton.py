"""Paged attention by our own Triton kernels."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..integers import next_power_of_two
from .base import AttentionSettings, ChunkLayout
from .kv_cache import KVCache
from .page_table import PageTable
from .row_places import place_numbers
from .step_rows import DecodeRows, PrefillTiles
from .transfer import to_device
from .unpacking import UnpackingStep

_MOST_SPLITS = 32
_PROGRAMS_PER_PROCESSOR = 4
"""Programs of a decode that should be there for each multiprocessor: enough reads under way to keep its memory busy."""

_LARGEST_HEAD = 256
_PREFILL_LINES = 128
"""Query rows (tokens times heads of a group) of a prefill program: the left side of a tensor core's product."""


def triton_problem(cache: KVCache) -> str | None:
    """Why the kernels cannot run over this cache, in one line; None if they can."""
    if importlib.util.find_spec("triton") is None:
        return "the package triton is not installed"
    import triton

    if cache.data.device.type != "cuda" and not triton.knobs.runtime.interpret:
        return f"Triton needs a CUDA device, and the KV is on {cache.data.device}"
    if cache.shape.head_size > _LARGEST_HEAD:
        return f"heads of {cache.shape.head_size} are over the {_LARGEST_HEAD} that the kernels were made for"
    if cache.data.device.type == "cuda" and torch.cuda.get_device_capability(cache.data.device) < (8, 0):
        return "the kernels need a GPU of compute capability 8.0 or newer"
    return None


class TritonBackend:
    """See `AttentionBackend`. Decodes and chunks of prompts are attended to by kernels of their own."""

    name = "triton"

    def __init__(self, cache: KVCache, *, num_slots: int, max_num_pages: int) -> None:
        self.cache = cache
        self.page_table = PageTable(num_slots, max_num_pages, cache.data.device)
        device = cache.data.device
        properties = torch.cuda.get_device_properties(device) if device.type == "cuda" else None
        self.num_processors = 1 if properties is None else properties.multi_processor_count
        self.shared_bytes: int = getattr(properties, "shared_memory_per_block_optin", 0)

    def plan(self, chunks: Sequence[ChunkLayout]) -> TritonStep:
        """Sort the step's chunks, and bring the page table up to date."""
        self.page_table.follow(chunks)
        device = self.cache.data.device
        decodes = [chunk for chunk in chunks if chunk.num_tokens == 1]
        prefills = [chunk for chunk in chunks if chunk.num_tokens > 1]
        decode_rows = [(chunk.offset, chunk.slot, chunk.end) for chunk in decodes]
        return TritonStep(
            backend=self,
            places=to_device(place_numbers(chunks, self.cache.block_size), device, torch.int32),
            decode=DecodeRows(*_columns(decode_rows, device)) if decodes else None,
            prefill=PrefillTiles(*_columns(self.tiles(prefills), device)) if prefills else None,
        )

    def tiles(self, chunks: Sequence[ChunkLayout]) -> list[tuple[int, int, int, int]]:
        """Chunks of prompts as (first row, first position, tokens, slot) of each tile.

        Longest sequences first: what takes longest should not be begun last.
        """
        size = self.tokens_per_tile()
        return [
            (chunk.offset + first, chunk.start + first, min(size, chunk.num_tokens - first), chunk.slot)
            for chunk in sorted(chunks, key=lambda chunk: -chunk.end)
            for first in reversed(range(0, chunk.num_tokens, size))
        ]

    def tokens_per_tile(self) -> int:
        """Tokens of a prefill program, a power of two."""
        shape, dtype = self.cache.shape, self.cache.data.dtype
        # What a program keeps in registers: scores and the weighted sum, of every line.
        lines = _PREFILL_LINES // (8 if dtype.itemsize > 2 else 4 if shape.head_size > 128 else 1)
        return max(1, lines // next_power_of_two(shape.group_size))

    def num_splits(self, num_seqs: int) -> int:
        """Programs that share the keys of one head of one sequence. From counts only: lengths are the device's."""
        wanted = self.num_processors * _PROGRAMS_PER_PROCESSOR
        splits = wanted // max(1, num_seqs * self.cache.shape.num_kv_heads)
        return 1 << max(0, min(splits, _MOST_SPLITS).bit_length() - 1)


def _columns(rows: Sequence[tuple[int, ...]], device: torch.device) -> tuple[torch.Tensor, ...]:
    """Columns of a table as int32 tensors on a device, in one copy."""
    flat = [value for column in zip(*rows, strict=True) for value in column]
    return to_device(flat, device, torch.int32).view(-1, len(rows)).unbind()


@dataclass(frozen=True, slots=True)
class TritonStep(UnpackingStep):
    """See `StepAttention`. `places` `[T]` int32: where each row's keys and values go; below 0 nowhere."""

    backend: TritonBackend
    places: torch.Tensor
    decode: DecodeRows | None
    prefill: PrefillTiles | None

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        settings: AttentionSettings,
    ) -> torch.Tensor:
        """See `StepAttention.attend`."""
        from .kernel_calls import KernelCall  # Triton: only where it is used

        call = KernelCall(
            query,
            self.backend.cache.keys(layer),
            self.backend.cache.values(layer),
            self.backend.page_table.table,
            settings,
        )
        call.store(key, value, self.places)
        if self.decode is not None:
            call.decode(self.decode, self.backend.num_splits(self.decode.rows.numel()))
        if self.prefill is not None:
            call.prefill(self.prefill, self.backend.tokens_per_tile(), self.backend.shared_bytes)
        return call.output
