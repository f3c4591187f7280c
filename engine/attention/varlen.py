"""Paged attention by torch's own flash attention for sequences of different lengths: one call for the whole step."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch.nn.attention import varlen

from ..errors import UnsupportedModelError
from ..integers import ceil_div
from .base import AttentionSettings, ChunkLayout
from .kv_cache import KVCache
from .row_places import RowPlaces
from .transfer import to_device
from .unpacking import UnpackingStep

_PAGE_MULTIPLE = 256
_HEAD_MULTIPLE = 8
_LARGEST_HEAD = 256


def varlen_problem(
    device: torch.device, dtype: torch.dtype, block_size: int, head_size: int, softcap: float | None = None
) -> str | None:
    """Why `varlen_attn` cannot attend over such pages, in one line; None if it can."""
    if "block_table" not in inspect.signature(varlen.varlen_attn).parameters:
        return f"torch {torch.__version__} does not attend over pages; 2.12 and later do"
    if device.type != "cuda":
        return f"it needs a CUDA device, and the KV is on {device}"
    if dtype not in (torch.float16, torch.bfloat16):
        return f"it computes in float16 or bfloat16, not in {str(dtype).removeprefix('torch.')}"
    if block_size % _PAGE_MULTIPLE:
        return f"its pages hold a multiple of {_PAGE_MULTIPLE} tokens, and --block-size is {block_size}"
    if head_size % _HEAD_MULTIPLE or head_size > _LARGEST_HEAD:
        return f"heads of {head_size} are not a multiple of {_HEAD_MULTIPLE} up to {_LARGEST_HEAD}"
    if softcap is not None:
        return "it has no soft-capping, which the model needs"
    if torch.cuda.get_device_capability(device) < (8, 0):
        return "it needs a GPU of compute capability 8.0 or newer"
    return None


class VarlenBackend:
    """See `AttentionBackend`. Decodes and chunks of prompts go through the same kernel."""

    name = "varlen"

    def __init__(self, cache: KVCache) -> None:
        self.cache = cache

    def plan(self, chunks: Sequence[ChunkLayout]) -> VarlenStep:
        """Write out what the kernel needs to know about the step's sequences."""
        device, block_size = self.cache.data.device, self.cache.block_size
        num_seqs = len(chunks)
        query_ends = list(accumulate((chunk.num_tokens for chunk in chunks), initial=0))
        lengths = [chunk.end for chunk in chunks]
        num_pages = ceil_div(max(lengths), block_size)
        table: list[int] = []
        for chunk in chunks:
            pages = chunk.block_ids[: ceil_div(chunk.end, block_size)]
            table += [*pages, *[0] * (num_pages - len(pages))]
        key_ends = list(accumulate(lengths, initial=0))
        # One copy to the device.
        numbers = to_device([*query_ends, *key_ends, *lengths, *table], device, torch.int32)
        parts = numbers.split_with_sizes([num_seqs + 1, num_seqs + 1, num_seqs, len(table)])
        return VarlenStep(
            cache=self.cache,
            places=RowPlaces.of(chunks, block_size, device),
            query_ends=parts[0],
            key_ends=parts[1],
            lengths=parts[2],
            block_table=parts[3].view(num_seqs, num_pages),
            most_queries=max(chunk.num_tokens for chunk in chunks),
            most_keys=max(lengths),
        )


@dataclass(frozen=True, slots=True)
class VarlenStep(UnpackingStep):
    """See `StepAttention`. All tensors are int32.

    Attributes:
        cache: The pages.
        places: Where the step's keys and values go.
        query_ends: `[sequences + 1]`: rows of the step before each sequence, and all of them.
        key_ends: `[sequences + 1]`: the same of their keys, as if these were packed. The kernel goes by `lengths`
            instead, and yet refuses to be called without.
        lengths: `[sequences]`: their keys, this step's among them.
        block_table: `[sequences, pages]`, filled up with block 0, which is not read there.
        most_queries: Rows of the sequence that has most.
        most_keys: Keys of the sequence that has most.
    """

    cache: KVCache
    places: RowPlaces
    query_ends: torch.Tensor
    key_ends: torch.Tensor
    lengths: torch.Tensor
    block_table: torch.Tensor
    most_queries: int
    most_keys: int

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        settings: AttentionSettings,
    ) -> torch.Tensor:
        """See `StepAttention.attend`."""
        if settings.softcap is not None:
            raise UnsupportedModelError(
                "--attention varlen has no soft-capping, which this model needs; choose triton or sdpa"
            )
        keys, values = self.cache.keys(layer), self.cache.values(layer)
        self.places.store(keys, key)
        self.places.store(values, value)
        output = varlen.varlen_attn(
            # The kernel refuses heads that are not dense in memory.
            query if query.stride(-1) == 1 else query.contiguous(),
            keys,
            values,
            self.query_ends,
            self.key_ends,
            self.most_queries,
            self.most_keys,
            scale=settings.scaling,
            # Positions that a row sees before its own, and after it: the last row of a sequence is at its last key.
            window_size=(-1 if settings.sliding_window is None else settings.sliding_window - 1, 0),
            enable_gqa=query.shape[1] != keys.shape[2],
            seqused_k=self.lengths,
            block_table=self.block_table,
        )
        assert isinstance(output, torch.Tensor)  # a pair only where more is asked for
        return output
