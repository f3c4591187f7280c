"""The memory behind the KV blocks."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class KVShape:
    """The model's side of the KV cache's shape. `group_size`: query heads that share a KV head."""

    num_layers: int
    num_kv_heads: int
    head_size: int
    group_size: int = 1

    def bytes_per_token(self, dtype: torch.dtype) -> int:
        """Bytes that one token's keys and values take over all layers."""
        return 2 * self.num_layers * self.num_kv_heads * self.head_size * dtype.itemsize


class KVCache:
    """Keys and values in blocks.

    One tensor `[blocks, layers, 2, block size, KV heads, head size]`, the block outermost, so that all of a block
    (every layer) is one run of memory: parking a session moves whole blocks.
    """

    def __init__(
        self, shape: KVShape, num_blocks: int, block_size: int, *, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.shape = shape
        self.num_blocks = num_blocks
        self.block_size = block_size
        # Zeros, not empty: rows behind a sequence's end are multiplied by a weight of exactly 0, which a stray NaN
        # would survive. The operating system provides the pages on first use either way.
        self.data = torch.zeros(
            (num_blocks, shape.num_layers, 2, block_size, shape.num_kv_heads, shape.head_size),
            dtype=dtype,
            device=device,
        )

    def keys(self, layer: int) -> torch.Tensor:
        """`[blocks, block size, KV heads, head size]`, a view."""
        return self.data[:, layer, 0]

    def values(self, layer: int) -> torch.Tensor:
        """`[blocks, block size, KV heads, head size]`, a view."""
        return self.data[:, layer, 1]
