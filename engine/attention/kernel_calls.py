"""How the Triton kernels are called: which shapes they are made for, and with how many warps."""

from __future__ import annotations

from typing import Any

import torch

from ..integers import ceil_div, next_power_of_two
from .base import AttentionSettings
from .kernels import decode_kernel, prefill_kernel, reduce_kernel, store_kernel
from .kv_cache import KVCache
from .step_rows import DecodeRows, PrefillTiles

_LEAST_LINES = 16
"""Rows of the smallest product a tensor core makes."""

_LARGE_SHARED_BYTES = 200 * 1024
"""Of one program: compute capability 9.0 and 10.0 have 227 KiB, 8.0 has 163 KiB, all others 99 KiB."""


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
        )

    def decode(self, sequences: DecodeRows, num_splits: int) -> None:
        """Attention of rows that are one token of a sequence each."""
        num_seqs, num_heads = sequences.rows.numel(), self.num_kv_heads * self.group
        shape = (num_seqs, num_heads, num_splits, self._heads["HEAD_PADDED"])
        # With one split nothing is written here; the kernel wants pointers all the same.
        partial = self._scratch(shape if num_splits > 1 else (1,))
        log_sums = self._scratch(shape[:3] if num_splits > 1 else (1,))
        decode_kernel[(self.num_kv_heads, num_splits, num_seqs)](
            self.output,
            partial,
            log_sums,
            self.query,
            self.key_pages,
            self.value_pages,
            self.table,
            sequences.rows,
            sequences.slots,
            sequences.lengths,
            *self._numbers,
            *self._strides,
            NUM_SPLITS=num_splits,
            GROUP_PADDED=max(_LEAST_LINES, next_power_of_two(self.group)),
            TILE=decode_tile(self._heads["HEAD_SIZE"], self._dtype),
            **self._constants,
            num_warps=4,
            num_stages=3,  # two tiles of keys and values under way, and room for three programs a multiprocessor
        )
        if num_splits > 1:
            reduce_kernel[(num_heads, num_seqs)](
                self.output,
                partial,
                log_sums,
                sequences.rows,
                sequences.lengths,
                *self.output.stride()[:2],
                NUM_SPLITS=num_splits,
                SPLITS_PADDED=next_power_of_two(num_splits),
                **self._heads,
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
        )

    def _scratch(self, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.empty(shape, dtype=torch.float32, device=self.query.device)


def store_nothing(cache: KVCache) -> None:
    """Launch a kernel that writes nothing anywhere."""
    shape, device = cache.shape, cache.data.device
    row = torch.zeros((1, shape.num_kv_heads, shape.head_size), dtype=cache.data.dtype, device=device)
    query = row.repeat_interleave(shape.group_size, dim=1)
    table = torch.zeros((1, 1), dtype=torch.int32, device=device)
    call = KernelCall(query, cache.keys(0), cache.values(0), table, AttentionSettings(scaling=1.0))
    call.store(row, row, torch.full((1,), -1, dtype=torch.int32, device=device))


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
