"""Paged attention by our own Triton kernels."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from ..integers import ceil_div, next_power_of_two
from .base import AttentionSettings, ChunkLayout, PackedHeads, Rotation
from .decode_parts import decode_parts
from .kv_cache import KVCache
from .page_table import PageTable
from .row_places import cut_into_tiles, place_numbers
from .step_rows import DecodeParts, DecodeRows, PrefillTiles
from .transfer import to_device

if TYPE_CHECKING:
    from .kernel_calls import KernelCall  # Triton: only where it is used

_PROGRAMS_PER_PROCESSOR = 4
"""Programs of a decode that a multiprocessor has room for, where no compiled kernel says so."""

_REGISTERS = 65_536
"""Of a multiprocessor, of every compute capability that there are kernels for."""

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
        self.arrived = torch.zeros((num_slots, cache.shape.num_kv_heads), dtype=torch.int32, device=device)
        """Parts of sequences in decode that are done, while a kernel runs; 0 between kernels."""
        self.programs_per_processor = _PROGRAMS_PER_PROCESSOR
        if properties is not None:
            from .kernel_calls import decode_nothing  # Triton: only where it is used

            kernel = decode_nothing(cache, self.page_table.table, self.arrived)
            self.programs_per_processor = resident_programs(
                kernel.n_regs,
                kernel.metadata.num_warps,
                kernel.metadata.shared,
                shared_bytes=properties.shared_memory_per_multiprocessor,
                most_warps=properties.max_threads_per_multi_processor // properties.warp_size,
            )

    def plan(self, chunks: Sequence[ChunkLayout]) -> TritonStep:
        """Sort the step's chunks, and bring the page table up to date."""
        self.page_table.follow(chunks)
        device = self.cache.data.device
        decodes = [chunk for chunk in chunks if chunk.num_tokens == 1]
        prefills = [chunk for chunk in chunks if chunk.num_tokens > 1]
        return TritonStep(
            backend=self,
            places=to_device(place_numbers(chunks, self.cache.block_size), device, torch.int32),
            decode=self._decode_rows(decodes) if decodes else None,
            prefill=PrefillTiles(*_columns(self.tiles(prefills), device)) if prefills else None,
        )

    def tiles(self, chunks: Sequence[ChunkLayout]) -> list[tuple[int, int, int, int]]:
        """Chunks of prompts, as `cut_into_tiles` has them."""
        return cut_into_tiles(chunks, self.tokens_per_tile())

    def tokens_per_tile(self) -> int:
        """Tokens of a prefill program, a power of two."""
        shape, dtype = self.cache.shape, self.cache.data.dtype
        # What a program keeps in registers: scores and the weighted sum, of every line.
        lines = _PREFILL_LINES // (8 if dtype.itemsize > 2 else 4 if shape.head_size > 128 else 1)
        return max(1, lines // next_power_of_two(shape.group_size))

    @property
    def extra_parts(self) -> int:
        """Most parts of a batch's decodes beside one for each: as many as there are programs that run at a time."""
        return self.num_processors * self.programs_per_processor // self.cache.shape.num_kv_heads

    def parts(self, lengths: NDArray[np.int32]) -> NDArray[np.int32]:
        """See `decode_parts`: `[3, parts]`, for decodes of sequences with so many keys."""
        from .kernel_calls import decode_tile  # Triton: only where it is used

        tile = decode_tile(self.cache.shape.head_size, self.cache.data.dtype)
        return decode_parts(lengths, tile=tile, most_extra=self.extra_parts)

    def _decode_rows(self, chunks: Sequence[ChunkLayout]) -> DecodeRows:
        device = self.cache.data.device
        rows, slots, lengths = _columns([(chunk.offset, chunk.slot, chunk.end) for chunk in chunks], device)
        parts = self.parts(np.array([chunk.end for chunk in chunks], dtype=np.int32))
        return DecodeRows(rows, slots, lengths, DecodeParts(*_columns(parts.T.tolist(), device)))


def resident_programs(
    registers_a_thread: int,
    num_warps: int,
    program_shared_bytes: int,
    *,
    shared_bytes: int,
    most_warps: int,
) -> int:
    """Programs of a kernel that a multiprocessor runs at a time, at least 1 (CUDA programming guide, occupancy).

    Args:
        registers_a_thread: Of the compiled kernel, as are the next two.
        num_warps: Of a program.
        program_shared_bytes: Of a program.
        shared_bytes: Of the multiprocessor.
        most_warps: That it runs at a time.
    """
    # Registers are given out to warps 256 at a time, and a program's shared memory has a KiB of the system's own.
    warp_registers = ceil_div(32 * registers_a_thread, 256) * 256
    by_registers = _REGISTERS // warp_registers // num_warps
    return max(1, min(by_registers, shared_bytes // (program_shared_bytes + 1024), most_warps // num_warps))


def _columns(rows: Sequence[tuple[int, ...]], device: torch.device) -> tuple[torch.Tensor, ...]:
    """Columns of a table as int32 tensors on a device, in one copy."""
    flat = [value for column in zip(*rows, strict=True) for value in column]
    return to_device(flat, device, torch.int32).view(-1, len(rows)).unbind()


@dataclass(frozen=True, slots=True)
class TritonStep:
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
        call = self._call(layer, query, settings)
        call.store(key, value, self.places)
        return self._attend(call)

    def attend_packed(
        self,
        layer: int,
        packed: torch.Tensor,
        heads: PackedHeads,
        rotation: Rotation,
        settings: AttentionSettings,
    ) -> torch.Tensor:
        """See `StepAttention.attend_packed`."""
        # Not written over: programs of several warps may read a number again that one of them has turned.
        query = packed.new_empty((packed.shape[0], heads.num_heads, heads.head_size))
        call = self._call(layer, query, settings)
        call.rotate(packed, heads, rotation, self.places)
        return self._attend(call).flatten(1)

    def _call(self, layer: int, query: torch.Tensor, settings: AttentionSettings) -> KernelCall:
        from .kernel_calls import KernelCall  # Triton: only where it is used

        cache = self.backend.cache
        return KernelCall(query, cache.keys(layer), cache.values(layer), self.backend.page_table.table, settings)

    def _attend(self, call: KernelCall) -> torch.Tensor:
        if self.decode is not None:
            call.decode(self.decode, self.backend.arrived)
        if self.prefill is not None:
            call.prefill(self.prefill, self.backend.tokens_per_tile(), self.backend.shared_bytes)
        return call.output
