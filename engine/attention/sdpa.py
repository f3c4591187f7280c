"""Paged attention by gathering pages and calling torch's own scaled dot product attention. Runs on any device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch.nn.functional import scaled_dot_product_attention

from ..integers import ceil_div
from .base import AttentionSettings, ChunkLayout
from .kv_cache import KVCache
from .row_places import RowPlaces
from .transfer import to_device
from .unpacking import UnpackingStep

_MAX_PADDING_RATIO = 1.5
"""Decoding sequences share a call while the longest has at most this many times the blocks of the shortest."""


@dataclass(slots=True)
class _Masks:
    """Additive masks of one group of rows, by sliding window, made when a layer first asks."""

    query_positions: torch.Tensor
    """`[..., rows, 1]`."""
    num_keys: int
    dtype: torch.dtype
    _by_window: dict[int | None, torch.Tensor] = field(default_factory=dict)

    def get(self, sliding_window: int | None) -> torch.Tensor:
        """`[..., rows, keys]`: 0 where a row may look, minus infinity elsewhere."""
        mask = self._by_window.get(sliding_window)
        if mask is None:
            keys = torch.arange(self.num_keys, device=self.query_positions.device)
            hidden = keys > self.query_positions
            if sliding_window is not None:
                hidden |= keys <= self.query_positions - sliding_window
            mask = torch.zeros(hidden.shape, dtype=self.dtype, device=hidden.device)
            mask.masked_fill_(hidden, float("-inf"))
            self._by_window[sliding_window] = mask
        return mask


class _GatherBuffer:
    """Memory that gathered pages are copied into, kept from layer to layer and step to step.

    Fresh memory of this size is returned to the system by every layer and faulted in again by the next, which costs
    several times the copy itself.
    """

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self._memory = torch.empty(0, dtype=dtype, device=device)

    def gather(self, pages: torch.Tensor, page_table: torch.Tensor) -> torch.Tensor:
        """`pages[page_table]`, page_table one-dimensional; valid until the next call."""
        shape = (page_table.numel(), *pages.shape[1:])
        size = page_table.numel() * pages[0].numel()
        if self._memory.numel() < size:
            self._memory = self._memory.new_empty(0)  # it need not be there twice
            self._memory = torch.empty(size * 5 // 4, dtype=self._memory.dtype, device=self._memory.device)
        gathered = self._memory[:size].view(shape)
        torch.index_select(pages, 0, page_table, out=gathered)
        return gathered


@dataclass(frozen=True, slots=True)
class _DecodeGroup:
    """Sequences of similar length that compute one token each: one call, keys padded to the longest."""

    rows: torch.Tensor
    """`[sequences]`: their rows in the packed step."""
    page_table: torch.Tensor
    """`[sequences * pages]`."""
    masks: _Masks


@dataclass(frozen=True, slots=True)
class _PrefillChunk:
    """Several tokens of one sequence."""

    rows: slice
    page_table: torch.Tensor
    start: int
    end: int
    masks: _Masks


class SdpaBackend:
    """Gathers each sequence's pages into a buffer and attends over it."""

    name = "sdpa"

    def __init__(self, cache: KVCache) -> None:
        self.cache = cache
        self.key_buffer = _GatherBuffer(cache.data.dtype, cache.data.device)
        self.value_buffer = _GatherBuffer(cache.data.dtype, cache.data.device)

    def plan(self, chunks: Sequence[ChunkLayout]) -> SdpaStep:
        """Sort the step's chunks into decode groups and prefill chunks, and build their page tables."""
        block_size = self.cache.block_size
        return SdpaStep(
            backend=self,
            places=RowPlaces.of(chunks, block_size, self.cache.data.device),
            decode_groups=[self._decode_group(group) for group in _similar_lengths(chunks, block_size)],
            prefill_chunks=[self._prefill_chunk(chunk) for chunk in chunks if chunk.num_tokens > 1],
        )

    def _decode_group(self, chunks: Sequence[ChunkLayout]) -> _DecodeGroup:
        device = self.cache.data.device
        num_pages = max(ceil_div(chunk.end, self.cache.block_size) for chunk in chunks)
        table = []
        for chunk in chunks:
            pages = chunk.block_ids[:num_pages]
            table += [*pages, *[0] * (num_pages - len(pages))]
        last_positions = to_device([chunk.start for chunk in chunks], device, torch.long)
        return _DecodeGroup(
            rows=to_device([chunk.offset for chunk in chunks], device, torch.long),
            page_table=to_device(table, device, torch.long),
            masks=_Masks(last_positions.view(-1, 1, 1, 1), num_pages * self.cache.block_size, self.cache.data.dtype),
        )

    def _prefill_chunk(self, chunk: ChunkLayout) -> _PrefillChunk:
        device = self.cache.data.device
        num_pages = ceil_div(chunk.end, self.cache.block_size)
        positions = torch.arange(chunk.start, chunk.end, device=device).view(-1, 1)
        return _PrefillChunk(
            rows=slice(chunk.offset, chunk.offset + chunk.num_tokens),
            page_table=to_device(chunk.block_ids[:num_pages], device, torch.long),
            start=chunk.start,
            end=chunk.end,
            masks=_Masks(positions, chunk.end, self.cache.data.dtype),
        )


def _similar_lengths(chunks: Sequence[ChunkLayout], block_size: int) -> list[list[ChunkLayout]]:
    """The decoding chunks, shortest first, cut where padding to the longest would waste too much."""
    groups: list[list[ChunkLayout]] = []
    shortest = 0
    for chunk in sorted((chunk for chunk in chunks if chunk.num_tokens == 1), key=lambda chunk: chunk.end):
        num_pages = ceil_div(chunk.end, block_size)
        if not groups or num_pages > max(shortest * _MAX_PADDING_RATIO, 4):
            groups.append([])
            shortest = num_pages
        groups[-1].append(chunk)
    return groups


@dataclass(frozen=True, slots=True)
class SdpaStep(UnpackingStep):
    """See `StepAttention`."""

    backend: SdpaBackend
    places: RowPlaces
    decode_groups: list[_DecodeGroup]
    prefill_chunks: list[_PrefillChunk]

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        settings: AttentionSettings,
    ) -> torch.Tensor:
        """See `StepAttention.attend`."""
        keys, values = self.backend.cache.keys(layer), self.backend.cache.values(layer)
        self.places.store(keys, key)
        self.places.store(values, value)
        output = torch.empty_like(query, memory_format=torch.contiguous_format)
        for group in self.decode_groups:
            output[group.rows] = self._decode(group, query, keys, values, settings)
        for chunk in self.prefill_chunks:
            if chunk.start == 0:
                pair = key[chunk.rows], value[chunk.rows]
            else:
                pair = self._gather(chunk.page_table, chunk.end, keys, values)
            output[chunk.rows] = _prefill(chunk, query[chunk.rows], *pair, settings)
        return output

    def _gather(
        self, page_table: torch.Tensor, num_keys: int, keys: torch.Tensor, values: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The first `num_keys` keys and values of one sequence, `[num_keys, KV heads, head size]` each."""
        gathered_keys = self.backend.key_buffer.gather(keys, page_table).flatten(0, 1)
        gathered_values = self.backend.value_buffer.gather(values, page_table).flatten(0, 1)
        return gathered_keys[:num_keys], gathered_values[:num_keys]

    def _decode(
        self,
        group: _DecodeGroup,
        query: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        settings: AttentionSettings,
    ) -> torch.Tensor:
        """`[sequences, query heads, head size]`. Query heads that share a KV head become rows of one product."""
        num_seqs = group.rows.numel()
        num_heads, head_size = query.shape[1:]
        num_kv_heads = keys.shape[2]
        shape = (num_seqs, -1, num_kv_heads, head_size)
        gathered_keys = self.backend.key_buffer.gather(keys, group.page_table).view(shape).transpose(1, 2)
        gathered_values = self.backend.value_buffer.gather(values, group.page_table).view(shape).transpose(1, 2)
        grouped_query = query[group.rows].view(num_seqs, num_kv_heads, num_heads // num_kv_heads, head_size)
        mask = group.masks.get(settings.sliding_window)
        if settings.softcap is None:
            output = scaled_dot_product_attention(
                grouped_query, gathered_keys, gathered_values, attn_mask=mask, scale=settings.scaling
            )
        else:
            output = _capped_attention(
                grouped_query, gathered_keys, gathered_values, mask, settings.scaling, settings.softcap
            )
        return output.reshape(num_seqs, num_heads, head_size)


def _prefill(
    chunk: _PrefillChunk,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    settings: AttentionSettings,
) -> torch.Tensor:
    """`[rows, query heads, head size]`: KV heads are the batch, the query heads of each share its keys unrepeated."""
    num_rows, num_heads, head_size = query.shape
    num_kv_heads = key.shape[1]
    group_size = num_heads // num_kv_heads
    grouped_query = query.view(num_rows, num_kv_heads, group_size, head_size).permute(1, 2, 0, 3)
    window = settings.sliding_window
    if window is not None and chunk.end <= window:
        window = None
    if settings.softcap is None:
        is_plain = chunk.start == 0 and window is None
        output = scaled_dot_product_attention(
            grouped_query,
            key.transpose(0, 1).unsqueeze(1).expand(-1, group_size, -1, -1),
            value.transpose(0, 1).unsqueeze(1).expand(-1, group_size, -1, -1),
            attn_mask=None if is_plain else chunk.masks.get(window),
            is_causal=is_plain,
            scale=settings.scaling,
        )
    else:
        # The query heads of a KV head, row by row, are lines of one product: an expanded key would be copied here.
        output = _capped_attention(
            grouped_query.flatten(1, 2),
            key.transpose(0, 1),
            value.transpose(0, 1),
            chunk.masks.get(window),
            settings.scaling,
            settings.softcap,
        ).view(num_kv_heads, group_size, num_rows, head_size)
    return output.permute(2, 0, 1, 3).reshape(num_rows, num_heads, head_size)


def _capped_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor,
    scaling: float,
    softcap: float,
) -> torch.Tensor:
    """What `scaled_dot_product_attention` does, with capped scores, which it does not support.

    Args:
        query: `[..., lines, head size]`: the rows of one query head, then those of the next.
        key: `[..., keys, head size]`.
        value: `[..., keys, head size]`.
        mask: `[..., rows, keys]`: added to the capped scores of each head.
        scaling: Factor on the dot products.
        softcap: Bound on the scores.

    Returns:
        `[..., lines, head size]`.
    """
    scores = torch.matmul(query, key.transpose(-1, -2)).float()
    scores.mul_(scaling / softcap).tanh_().mul_(softcap)
    scores.view(*scores.shape[:-2], -1, *mask.shape[-2:]).add_(mask.unsqueeze(-3))
    return torch.matmul(scores.softmax(dim=-1).to(value.dtype), value)
