"""A batch as the columns that a recorded step reads: one list per field of its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..attention.base import ChunkLayout
from ..attention.paged_triton import TritonBackend
from ..integers import ceil_div
from ..request import Batch, Request, ScheduledChunk

Column = Sequence[int] | Sequence[float] | NDArray[np.int32] | NDArray[np.int64]

IN_FLIGHT = -1
"""The id of a token that only the device knows."""


@dataclass(frozen=True, slots=True)
class StepColumns:
    """What a batch asks of a step.

    Attributes:
        sampling: The chunks that sample, in order.
        num_rows: Tokens.
        num_decodes: Chunks of one token.
        num_tiles: Pieces that longer chunks are cut into.
        values: By name of the field (see `StepOnDevice`), without what the page table and the draw need.
    """

    sampling: list[ScheduledChunk]
    num_rows: int
    num_decodes: int
    num_tiles: int
    values: dict[str, Column]


def step_columns(batch: Batch, attention: TritonBackend) -> StepColumns:
    """The columns of a batch."""
    if batch.num_tokens == len(batch.chunks):
        return _of_single_tokens(batch.chunks, attention)
    return _of_any_chunks(batch.chunks, attention)


def _of_single_tokens(chunks: list[ScheduledChunk], attention: TritonBackend) -> StepColumns:
    """As below, where every chunk is a token: most steps are such, and this is what a host has to do for them."""
    block_size = attention.cache.block_size
    requests = [chunk[0] for chunk in chunks]
    starts = [chunk[1] for chunk in chunks]
    count = len(chunks)
    numbers = range(count)
    slots = np.array([request.slot for request in requests], dtype=np.int32)
    positions = np.array(starts, dtype=np.int32)
    samples = [index for index in numbers if chunks[index][3]]
    values: dict[str, Column] = {
        "token_ids": [
            request.token_ids[start] if start < len(request.token_ids) else IN_FLIGHT
            for request, start in zip(requests, starts, strict=True)
        ],
        "positions": positions,
        "slots": slots,
        "places": [
            request.block_ids[start // block_size] * block_size + start % block_size
            for request, start in zip(requests, starts, strict=True)
        ],
        "decode_rows": numbers,
        "decode_slots": slots,
        "lengths": positions + 1,
        "sample_rows": samples,
        "sample_slots": slots[samples] if len(samples) < count else slots,
        **_parts(attention, positions + 1),
    }
    sampling = chunks if len(samples) == count else [chunks[index] for index in samples]
    return StepColumns(sampling, count, count, 0, values)


def _of_any_chunks(chunks: list[ScheduledChunk], attention: TritonBackend) -> StepColumns:
    size = attention.cache.block_size
    ids: list[int] = []
    places: list[int] = []
    layouts: list[ChunkLayout] = []
    samples: list[int] = []
    for request, start, end, is_sampled, _ in chunks:
        layouts.append(ChunkLayout(len(ids), end - start, start, request.block_ids, request.slot))
        known = request.token_ids[start:end]
        ids += known
        if len(known) < end - start:  # the last one
            ids.append(IN_FLIGHT)
        places += _places(request, start, end, size)
        if is_sampled:
            samples.append(len(ids) - 1)
    lengths = np.array([layout.num_tokens for layout in layouts], dtype=np.int64)
    # The position of each row: that of its chunk's first one, and how far behind it the row is.
    firsts = np.array([layout.start - layout.offset for layout in layouts], dtype=np.int64)
    slots = np.array([layout.slot for layout in layouts], dtype=np.int32)
    decodes = [layout for layout in layouts if layout.num_tokens == 1]
    tiles = np.array(attention.tiles([one for one in layouts if one.num_tokens > 1]), dtype=np.int32).reshape(-1, 4)
    sampling = [chunk for chunk in chunks if chunk.samples]
    values: dict[str, Column] = {
        "token_ids": ids,
        "positions": np.arange(len(ids)) + np.repeat(firsts, lengths),
        "slots": np.repeat(slots, lengths),
        "places": places,
        "decode_rows": [layout.offset for layout in decodes],
        "decode_slots": [layout.slot for layout in decodes],
        "lengths": [layout.end for layout in decodes],
        "sample_rows": samples,
        "sample_slots": [chunk.request.slot for chunk in sampling],
        "tile_rows": tiles[:, 0],
        "tile_positions": tiles[:, 1],
        "tile_counts": tiles[:, 2],
        "tile_slots": tiles[:, 3],
        **_parts(attention, np.array([layout.end for layout in decodes], dtype=np.int32)),
    }
    return StepColumns(sampling, len(ids), len(decodes), len(tiles), values)


def _parts(attention: TritonBackend, lengths: NDArray[np.int32]) -> dict[str, Column]:
    """How the keys of sequences in decode are shared out."""
    sequences, numbers, counts = attention.parts(lengths)
    return {"part_sequences": sequences, "part_numbers": numbers, "part_counts": counts}


def _places(request: Request, start: int, end: int, size: int) -> list[int]:
    """Where keys and values of these positions go: their block's id times `size`, plus the offset in the block."""
    if end - start == 1:
        return [request.block_ids[start // size] * size + start % size]
    blocks = np.array(request.block_ids[start // size : ceil_div(end, size)], dtype=np.int64)
    places = (blocks[:, None] * size + np.arange(size)).ravel()
    first = start % size
    found: list[int] = places[first : first + end - start].tolist()
    return found
