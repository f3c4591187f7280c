"""Attention from its definition, in float64, and random steps to compute it for."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import torch
from abatch.engine.attention.base import AttentionBackend, AttentionSettings, ChunkLayout
from abatch.engine.attention.kv_cache import KVCache, KVShape


@dataclass(frozen=True, slots=True)
class Shape:
    """What a model and its pages look like."""

    num_heads: int
    num_kv_heads: int
    head_size: int
    block_size: int
    dtype: torch.dtype = torch.float32
    sliding_window: int | None = None
    softcap: float | None = None

    def cache(self, num_blocks: int, device: str = "cpu") -> KVCache:
        """Two layers of pages. What nobody has written is far off anything that is."""
        shape = KVShape(2, self.num_kv_heads, self.head_size, self.num_heads // self.num_kv_heads)
        cache = KVCache(shape, num_blocks, self.block_size, dtype=self.dtype, device=torch.device(device))
        cache.data.fill_(1e4)
        return cache


class History:
    """Sequences that grow step by step: their keys and values, and their pages in random order."""

    def __init__(self, shape: Shape, lengths: list[int], num_blocks: int, *, seed: int, device: str = "cpu") -> None:
        self.shape = shape
        self.random = Random(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.device = device
        self.cache = shape.cache(num_blocks, device)
        self._free = self.random.sample(range(num_blocks), num_blocks)
        self.block_ids: list[list[int]] = [[] for _ in lengths]
        self.keys = [torch.zeros(0, shape.num_kv_heads, shape.head_size, dtype=torch.float64) for _ in lengths]
        self.values = [torch.zeros_like(keys) for keys in self.keys]
        self.slots = self.random.sample(range(len(lengths) + 2), len(lengths))

    def step(self, backend: AttentionBackend, counts: dict[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute so many more tokens of each sequence; what the backend says, and what is right: both float64."""
        shape, chunks, offset = self.shape, [], 0
        total = sum(counts.values())
        query = self._draw(total, shape.num_heads)
        key, value = self._draw(total, shape.num_kv_heads), self._draw(total, shape.num_kv_heads)
        expected = []
        for index, count in counts.items():
            start = len(self.keys[index])
            while len(self.block_ids[index]) * shape.block_size < start + count:
                self.block_ids[index] += [self._free.pop()]
            chunks.append(ChunkLayout(offset, count, start, self.block_ids[index], self.slots[index]))
            rows = slice(offset, offset + count)
            self.keys[index] = torch.cat([self.keys[index], key[rows].double()])
            self.values[index] = torch.cat([self.values[index], value[rows].double()])
            expected.append(self._attend(query[rows].double(), index, start))
            offset += count
        output = backend.plan(chunks).attend(
            1,
            query.to(self.device),
            key.to(self.device),
            value.to(self.device),
            AttentionSettings(
                scaling=shape.head_size**-0.5, sliding_window=shape.sliding_window, softcap=shape.softcap
            ),
        )
        return output.double().cpu(), torch.cat(expected)

    def _draw(self, count: int, heads: int) -> torch.Tensor:
        """Rows as transformers hands them over: heads outermost in memory."""
        drawn = torch.randn(heads, count, self.shape.head_size, generator=self.generator).to(self.shape.dtype)
        return drawn.transpose(0, 1)

    def _attend(self, query: torch.Tensor, index: int, start: int) -> torch.Tensor:
        shape = self.shape
        group = shape.num_heads // shape.num_kv_heads
        keys = self.keys[index].repeat_interleave(group, dim=1)
        values = self.values[index].repeat_interleave(group, dim=1)
        scores = torch.einsum("qhd,khd->hqk", query, keys) * shape.head_size**-0.5
        if shape.softcap is not None:
            scores = shape.softcap * torch.tanh(scores / shape.softcap)
        positions = torch.arange(start, start + len(query)).unsqueeze(1)
        others = torch.arange(len(keys)).unsqueeze(0)
        hidden = others > positions
        if shape.sliding_window is not None:
            hidden |= others <= positions - shape.sliding_window
        weights = scores.masked_fill(hidden, float("-inf")).softmax(dim=-1)
        return torch.einsum("hqk,khd->qhd", weights, values)


def relative_error(output: torch.Tensor, expected: torch.Tensor) -> float:
    """Norm of the difference, relative to the norm of what is right. Not a number if anything is not."""
    return float((output - expected).norm() / expected.norm())
