"""What a recorded step needs from the host, in one piece of memory: one copy a step, always to the same place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .attention.paged_triton import DecodeRows, PrefillTiles
from .drawing import DrawRows
from .request import ScheduledChunk
from .step_shapes import StepShape

_POISON = -1
_ALIGNMENT = 4
"""Words: fields begin at multiples of 16 bytes, whatever the sizes, as kernels are compiled for that."""

_WORDS: dict[str, tuple[str, ...]] = {
    "samples": ("sample_rows", "sample_slots", "temperatures", "top_ks", "top_ps"),
    "rows": ("token_ids", "positions", "slots", "places"),
    "decodes": ("decode_rows", "decode_slots", "lengths"),
    "tiles": ("tile_rows", "tile_positions", "tile_counts", "tile_slots"),
    "pages": ("page_entries", "pages"),
}
"""Fields of one 32-bit word, by what they have one for. Seeds, of two words a sample, come before them."""

_FLOATS = ("temperatures", "top_ps")


@dataclass(frozen=True, slots=True)
class StepOnDevice:
    """Views of the memory that a recorded step reads; int32 where nothing else is said.

    Attributes:
        turn: `[1]`: 0 and 1 in turn (see `Relay`).
        token_ids: `[rows]`: below 0 where the token is in flight, and the last one of its sequence.
        positions: `[rows]`.
        slots: `[rows]`: of the sequence: its row of the page table and of the last tokens.
        places: `[rows]`: where keys and values go (block * block size + offset). Below 0 for padding.
        decode: `[decodes]` each; lengths of 0 are padding.
        prefill: `[tiles]` each; tiles of no tokens are padding. None in a step that only decodes.
        sample_rows: `[samples]`: the rows that sample.
        sample_slots: `[samples]`: of their sequences.
        drawing: `[samples]` each.
        page_entries: `[pages]`: where new pages go in the page table. Below 0 for padding.
        pages: `[pages]`: the new pages.
    """

    turn: torch.Tensor
    token_ids: torch.Tensor
    positions: torch.Tensor
    slots: torch.Tensor
    places: torch.Tensor
    decode: DecodeRows
    prefill: PrefillTiles | None
    sample_rows: torch.Tensor
    sample_slots: torch.Tensor
    drawing: DrawRows
    page_entries: torch.Tensor
    pages: torch.Tensor


@dataclass(frozen=True, slots=True)
class StepWork:
    """What a batch asks of attention and of sampling.

    Attributes:
        decodes: (row, slot, length) of each sequence that computes one token.
        tiles: (first row, first position, tokens, slot) of each piece of a longer chunk.
        sample_rows: The rows that sample.
        page_entries: Where new pages go in the page table.
        pages: The new pages.
    """

    decodes: list[tuple[int, int, int]]
    tiles: list[tuple[int, int, int, int]]
    sample_rows: list[int]
    page_entries: list[int]
    pages: list[int]


class _Layout:
    """Where each field begins, with room for the largest step."""

    def __init__(self, shapes: Sequence[StepShape]) -> None:
        most = {size: max(getattr(shape, size) for shape in shapes) for size in _WORDS}
        self.turn = 0
        self.seeds = _ALIGNMENT
        end = self.seeds + _aligned(2 * most["samples"])
        self.starts: dict[str, int] = {}
        for size, names in _WORDS.items():
            for name in names:
                self.starts[name] = end
                end += _aligned(most[size])
        self.num_words = end


def _aligned(count: int) -> int:
    return -(-count // _ALIGNMENT) * _ALIGNMENT


class _HostBuffer:
    """Memory that the host writes and the device copies from. One array a field, as long as there is room."""

    def __init__(self, layout: _Layout, *, is_pinned: bool) -> None:
        self.words = torch.zeros(layout.num_words, dtype=torch.int32, pin_memory=is_pinned)
        array = self.words.numpy()
        self.turn = array[:1]
        starts = layout.starts
        self.seeds = array[layout.seeds : starts["sample_rows"]].view(np.int64)
        ends = [*list(starts.values())[1:], layout.num_words]
        self.fields = {
            name: array[start:end].view(np.float32) if name in _FLOATS else array[start:end]
            for (name, start), end in zip(starts.items(), ends, strict=True)
        }
        self.copied: torch.cuda.Event | None = None
        """The device has read it."""

    def put(self, name: str, values: Sequence[int] | Sequence[float] | np.ndarray, count: int, padding: float) -> None:
        """Fill a field with values, and up to `count` with padding."""
        field = self.fields[name]
        num_values = len(values)
        field[:num_values] = values
        field[num_values:count] = padding


class StepInputs:
    """Static inputs on the device, and two buffers on the host: one is written while the other may still be read.

    The device's memory needs no second copy: whatever writes it is queued behind the step that reads it.

    Args:
        shapes: Of all steps that are recorded.
        trash_slot: A slot that belongs to no sequence, for padding.
        block_size: Tokens in a KV block.
        device: Where the steps run.
        poison: Fill buffers with -1 before they are written: what a step reads that nobody wrote fails loudly.
    """

    def __init__(
        self,
        shapes: Sequence[StepShape],
        *,
        trash_slot: int,
        block_size: int,
        device: torch.device,
        poison: bool = False,
    ) -> None:
        self._is_cuda = device.type == "cuda"
        self._layout = _Layout(shapes)
        self._buffers = [_HostBuffer(self._layout, is_pinned=self._is_cuda) for _ in range(2)]
        self._next = 0
        self._trash_slot = trash_slot
        self._block_size = block_size
        self._poison = poison
        self._words = torch.zeros(self._layout.num_words, dtype=torch.int32, device=device)
        # Padding only, before anything is written: steps are recorded then.
        largest = StepShape(*(max(getattr(shape, name) for shape in shapes) for name in StepShape.__slots__))
        nothing = StepWork([], [], [], [], [])
        self.copy(self.write([], nothing, largest, seeds=[]))
        if self._is_cuda:
            torch.cuda.current_stream().synchronize()

    def on_device(self, shape: StepShape) -> StepOnDevice:
        """What a step of these sizes reads: the beginning of each field."""
        starts, words = self._layout.starts, self._words

        def field(name: str) -> torch.Tensor:
            count = next(getattr(shape, size) for size, names in _WORDS.items() if name in names)
            view = words[starts[name] : starts[name] + count]
            return view.view(torch.float32) if name in _FLOATS else view

        seeds = words[self._layout.seeds : self._layout.seeds + 2 * shape.samples].view(torch.int64)
        tiles = None if shape.is_decode else PrefillTiles(*(field(name) for name in _WORDS["tiles"]))
        return StepOnDevice(
            turn=words[:1],
            token_ids=field("token_ids"),
            positions=field("positions"),
            slots=field("slots"),
            places=field("places"),
            decode=DecodeRows(*(field(name) for name in _WORDS["decodes"])),
            prefill=tiles,
            sample_rows=field("sample_rows"),
            sample_slots=field("sample_slots"),
            drawing=DrawRows(seeds, field("temperatures"), field("top_ks"), field("top_ps")),
            page_entries=field("page_entries"),
            pages=field("pages"),
        )

    def write(self, chunks: Sequence[ScheduledChunk], work: StepWork, shape: StepShape, *, seeds: Sequence[int]) -> int:
        """Fill a host buffer; padding up to the sizes of `shape`. Returns its number, for `copy`."""
        number, self._next = self._next, 1 - self._next
        buffer, trash = self._buffers[number], self._trash_slot
        if buffer.copied is not None:
            buffer.copied.synchronize()  # two steps ago: long over
        if self._poison:
            buffer.words.fill_(_POISON)
        put = buffer.put
        buffer.turn[0] = number
        self._put_rows(buffer, chunks, shape)
        decodes = work.decodes
        put("decode_rows", [row for row, _, _ in decodes], shape.decodes, 0)
        put("decode_slots", [slot for _, slot, _ in decodes], shape.decodes, trash)
        put("lengths", [length for _, _, length in decodes], shape.decodes, 0)
        if shape.tiles:
            tiles = np.array(work.tiles, dtype=np.int32).reshape(-1, 4)
            for index, (name, padding) in enumerate(zip(_WORDS["tiles"], (0, 0, 0, trash), strict=True)):
                put(name, tiles[:, index], shape.tiles, padding)
        put("page_entries", work.page_entries, shape.pages, -1)
        put("pages", work.pages, shape.pages, 0)
        sampling = [chunk.request.sampling for chunk in chunks if chunk.samples]
        put("sample_rows", work.sample_rows, shape.samples, 0)
        put("sample_slots", [chunk.request.slot for chunk in chunks if chunk.samples], shape.samples, trash)
        put("temperatures", [0.0 if one.is_greedy else one.temperature for one in sampling], shape.samples, 0)
        put("top_ks", [one.top_k for one in sampling], shape.samples, 0)
        put("top_ps", [one.top_p for one in sampling], shape.samples, 1)
        buffer.seeds[: len(seeds)] = seeds
        buffer.seeds[len(seeds) : shape.samples] = 0
        return number

    def _put_rows(self, buffer: _HostBuffer, chunks: Sequence[ScheduledChunk], shape: StepShape) -> None:
        """Tokens, positions, slots and places of all rows, in the order of the chunks."""
        size = self._block_size
        ids: list[int] = []
        starts = [chunk.start for chunk in chunks]
        lengths = [chunk.end - chunk.start for chunk in chunks]
        places = []
        for chunk, start, length in zip(chunks, starts, lengths, strict=True):
            request = chunk.request
            if length == 1:
                ids.append(request.token_ids[start] if start < len(request.token_ids) else _POISON)
                places.append(request.block_ids[start // size] * size + start % size)
            else:
                known = request.token_ids[start : chunk.end]
                ids += known
                if len(known) < length:  # the last one is in flight
                    ids.append(_POISON)
                blocks = np.array(request.block_ids[start // size : -(-chunk.end // size)], dtype=np.int32)
                first = start % size
                places += (blocks[:, None] * size + np.arange(size)).ravel()[first : first + length].tolist()
        # The position of each row: that of its chunk's first one, and how far behind it the row is.
        repeats = np.array(lengths, dtype=np.int32)
        ends = np.cumsum(repeats)
        positions = np.arange(len(ids)) + np.repeat(np.array(starts, dtype=np.int64) - (ends - repeats), repeats)
        slots = np.repeat(np.array([chunk.request.slot for chunk in chunks], dtype=np.int32), repeats)
        buffer.put("token_ids", ids, shape.rows, 0)
        buffer.put("positions", positions, shape.rows, 0)
        buffer.put("slots", slots, shape.rows, self._trash_slot)
        buffer.put("places", places, shape.rows, -1)

    def copy(self, number: int) -> None:
        """Queue the copy of a written buffer to the device."""
        buffer = self._buffers[number]
        self._words.copy_(buffer.words, non_blocking=True)
        if self._is_cuda:
            buffer.copied = torch.cuda.Event()
            buffer.copied.record()
