"""How the Triton kernels are called: which shapes they are made for, and with how many warps."""

from __future__ import annotations

from typing import Any

import torch

from ..integers import ceil_div, next_power_of_two
from .base import AttentionSettings, PackedHeads, Rotation
from .decode_kernel import decode_kernel
from .early_launch import early_launch
from .kernels import prefill_kernel, store_kernel
from .kv_cache import KVCache
from .rotate_kernel import rotate_kernel
from .step_rows import DecodeParts, DecodeRows, PrefillTiles

_LEAST_LINES = 16
"""Rows of the smallest product a tensor core makes."""

_LARGE_SHARED_BYTES = 200 * 1024
"""Of one program: compute capability 9.0 and 10.0 have 227 KiB, 8.0 has 163 KiB, all others 99 KiB."""

_MERGED_NUMBERS = 4096
"""That the program which puts parts together holds at a time."""


class KernelCall:
    """Attention of one layer in one step: the kernels write into `output` `[T, query heads, head size]`.

    Args:
        query: `[T, query heads, head size]`, dense in the last dimension, as are keys and values.
        key_pages: `[blocks, block size, KV heads, head size]`, strided as `value_pages`.
        value_pages: As `key_pages`.
        table: `[slots, pages]` int32.
        settings: How the layer attends.
    """

    def __init__(
        self,
        query: torch.Tensor,
        key_pages: torch.Tensor,
        value_pages: torch.Tensor,
        table: torch.Tensor,
        settings: AttentionSettings,
    ) -> None:
        self.query = _dense(query)
        self.output = torch.empty(query.shape, dtype=query.dtype, device=query.device)
        self.key_pages = key_pages
        self.value_pages = value_pages
        self.table = table
        _, page, num_kv_heads, head_size = key_pages.shape
        self.num_kv_heads = num_kv_heads
        self.group = query.shape[1] // num_kv_heads
        self._dtype = query.dtype
        self._numbers = (settings.scaling, settings.softcap or 1.0, settings.sliding_window or 0)
        self._strides = (
            *self.query.stride()[:2],
            *self.output.stride()[:2],
            *key_pages.stride()[:3],
            table.stride(0),
        )
        self._heads: dict[str, Any] = {"HEAD_SIZE": head_size, "HEAD_PADDED": max(16, next_power_of_two(head_size))}
        self._constants: dict[str, Any] = {
            **self._heads,
            "GROUP": self.group,
            "PAGE": page,
            "HAS_SOFTCAP": settings.softcap is not None,
            "HAS_WINDOW": settings.sliding_window is not None,
            # Triton would round float32 to tf32 by default: three digits.
            "PRECISION": "ieee" if query.dtype == torch.float32 else "tf32",
        }

    def store(self, key: torch.Tensor, value: torch.Tensor, places: torch.Tensor) -> None:
        """Write the step's keys and values `[T, KV heads, head size]` to their places `[T]` int32."""
        key, value = _dense(key), _dense(value)
        store_kernel[(places.numel(),)](
            key,
            value,
            self.key_pages,
            self.value_pages,
            places,
            *key.stride()[:2],
            *value.stride()[:2],
            *self.key_pages.stride()[:3],
            NUM_HEADS=self.num_kv_heads,
            HEADS_PADDED=next_power_of_two(self.num_kv_heads),
            PAGE=self._constants["PAGE"],
            **self._heads,
            **early_launch(),
        )

    def rotate(self, packed: torch.Tensor, heads: PackedHeads, rotation: Rotation, places: torch.Tensor) -> None:
        """Write `query` from `[T, (query heads + 2 * KV heads) * head size]`, and keys and values to their places.

        `query` is dense.
        """
        head_size = heads.head_size
        half = rotation.cos.shape[-1] // 2
        half_padded, members = next_power_of_two(half), next_power_of_two(self.group + 1)
        packed, cos, sin = _dense(packed), _dense(rotation.cos), _dense(rotation.sin)
        rotate_kernel[(self.num_kv_heads, places.numel())](
            self.query,
            packed,
            self.key_pages,
            self.value_pages,
            places,
            cos,
            sin,
            # Without norms nothing is read here; the kernel wants pointers all the same.
            packed if heads.query_norm is None else heads.query_norm,
            packed if heads.key_norm is None else heads.key_norm,
            heads.epsilon,
            cos.stride(0),
            sin.stride(0),
            *self.key_pages.stride()[:3],
            GROUP=self.group,
            MEMBERS=members,
            HALF=half,
            HALF_PADDED=half_padded,
            REST_PADDED=next_power_of_two(max(1, head_size - 2 * half)),
            PAGE=self._constants["PAGE"],
            HAS_QUERY_NORM=heads.query_norm is not None,
            HAS_KEY_NORM=heads.key_norm is not None,
            **self._heads,
            num_warps=min(4, max(1, members * half_padded // 256)),
            **early_launch(),
        )

    def decode(self, sequences: DecodeRows, arrived: torch.Tensor) -> Any:
        """Attention of rows that are one token of a sequence each.

        Args:
            sequences: The rows.
            arrived: `[at least as many sequences, KV heads]` int32, all 0, and all 0 again afterwards.

        Returns:
            The compiled kernel; None from the interpreter.
        """
        parts = sequences.parts
        head_padded, members = self._heads["HEAD_PADDED"], next_power_of_two(self.group)
        shape = (parts.sequences.numel(), self.num_kv_heads * self.group, head_padded)
        # What sequences of a single part never touch.
        partial, log_sums = (
            torch.empty(size, dtype=torch.float32, device=self.query.device) for size in (shape, shape[:2])
        )
        return decode_kernel[(self.num_kv_heads, shape[0])](
            self.output,
            partial,
            log_sums,
            arrived,
            self.query,
            self.key_pages,
            self.value_pages,
            self.table,
            sequences.rows,
            sequences.slots,
            sequences.lengths,
            parts.sequences,
            parts.numbers,
            parts.counts,
            *self._numbers,
            *self._strides,
            GROUP_PADDED=max(_LEAST_LINES, members),
            TILE=decode_tile(self._heads["HEAD_SIZE"], self._dtype),
            MEMBERS=members,
            MERGED_PARTS=max(1, _MERGED_NUMBERS // (members * head_padded)),
            **self._constants,
            num_warps=4,
            num_stages=3,  # two tiles of keys and values under way, and room for three programs a multiprocessor
            **early_launch(),
        )

    def prefill(self, tiles: PrefillTiles, tokens_per_tile: int, shared_bytes: int) -> None:
        """Attention of rows that follow each other in their sequences.

        Args:
            tiles: The rows.
            tokens_per_tile: Most rows of a tile.
            shared_bytes: Shared memory that the device gives one program.
        """
        group_padded = max(next_power_of_two(self.group), ceil_div(_LEAST_LINES, tokens_per_tile))
        prefill_kernel[(self.num_kv_heads, tiles.slots.numel())](
            self.output,
            self.query,
            self.key_pages,
            self.value_pages,
            self.table,
            tiles.first_rows,
            tiles.first_positions,
            tiles.num_tokens,
            tiles.slots,
            *self._numbers,
            *self._strides,
            TOKENS=tokens_per_tile,
            GROUP_PADDED=group_padded,
            TILE=prefill_tile(self._heads["HEAD_SIZE"], self._dtype, shared_bytes),
            **self._constants,
            num_warps=4 if tokens_per_tile * group_padded <= 64 else 8,
            num_stages=3,
            **early_launch(),
        )


def store_nothing(cache: KVCache) -> None:
    """Launch a kernel that writes nothing anywhere."""
    shape, device = cache.shape, cache.data.device
    row = torch.zeros((1, shape.num_kv_heads, shape.head_size), dtype=cache.data.dtype, device=device)
    call = _call_of_one_row(cache, torch.zeros((1, 1), dtype=torch.int32, device=device))
    call.store(row, row, torch.full((1,), -1, dtype=torch.int32, device=device))


def decode_nothing(cache: KVCache, table: torch.Tensor, arrived: torch.Tensor) -> Any:
    """Launch a decode of padding, over the pages and with the table of those to come. Returns the compiled kernel."""
    nothing = torch.full((1,), -1, dtype=torch.int32, device=cache.data.device)
    sequences = DecodeRows(nothing, nothing, nothing, DecodeParts(nothing, nothing, nothing))
    return _call_of_one_row(cache, table).decode(sequences, arrived)


def _call_of_one_row(cache: KVCache, table: torch.Tensor) -> KernelCall:
    shape = cache.shape
    size = (1, shape.num_kv_heads * shape.group_size, shape.head_size)
    query = torch.zeros(size, dtype=cache.data.dtype, device=cache.data.device)
    return KernelCall(query, cache.keys(0), cache.values(0), table, AttentionSettings(scaling=1.0))


def decode_tile(head_size: int, dtype: torch.dtype) -> int:
    """Positions whose keys and values a program holds at a time: what fits into shared memory, several times over."""
    return 32 if next_power_of_two(head_size) * dtype.itemsize > 256 else 64


def prefill_tile(head_size: int, dtype: torch.dtype, shared_bytes: int) -> int:
    """As `decode_tile`, for prompts.

    GPUs with less shared memory also multiply from registers, where larger tiles of large heads would spill.
    """
    most_bytes = 256 if shared_bytes >= _LARGE_SHARED_BYTES else 128
    return 32 if next_power_of_two(head_size) * dtype.itemsize > most_bytes else 64


def _dense(tensor: torch.Tensor) -> torch.Tensor:
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()
