"""What a recorded step needs from the host, in one piece of memory: one copy per step, always to the same place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..attention.step_rows import DecodeParts, DecodeRows, PrefillTiles
from ..integers import ceil_div
from .drawing import DrawRows
from .step_columns import Column
from .step_shapes import StepShape

_POISON = -1
_ALIGNMENT = 4
"""Words: fields begin at multiples of 16 bytes, whatever the sizes, as kernels are compiled for that."""

_WORDS: dict[str, tuple[str, ...]] = {
    "samples": ("sample_rows", "sample_slots", "temperatures", "top_ks", "top_ps"),
    "rows": ("token_ids", "positions", "slots", "places"),
    "decodes": ("decode_rows", "decode_slots", "lengths"),
    "parts": ("part_sequences", "part_numbers", "part_counts"),
    "tiles": ("tile_rows", "tile_positions", "tile_counts", "tile_slots"),
    "pages": ("page_entries", "pages"),
}
"""Fields of one 32-bit word, by what they have one for. Seeds, of two words a sample, come before them."""

_FLOATS = ("temperatures", "top_ps")
_PADDING = {"places": -1, "part_sequences": -1, "page_entries": -1, "top_ps": 1}
"""What fills a field up; slots are filled with one that belongs to no sequence, everything else with 0."""


@dataclass(frozen=True, slots=True)
class StepOnDevice:
    """Views of the memory that a recorded step reads; int32 where nothing else is said.

    Attributes:
        turn: `[1]`: 0 and 1 in turn (see `Relay`).
        token_ids: `[rows]`: below 0 where the token is in flight, and the last one of its sequence.
        positions: `[rows]`.
        slots: `[rows]`: of the sequence: its row of the page table and of the last tokens.
        places: `[rows]`: where keys and values go (block * block size + offset). Below 0 for padding.
        decode: `[decodes]` each, and their `[parts]`; lengths of 0 and parts of no sequence are padding.
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


class _Layout:
    """Where each field begins, with room for the largest step. The first word says whose turn it is."""

    def __init__(self, shapes: Sequence[StepShape]) -> None:
        most = {size: max(getattr(shape, size) for shape in shapes) for size in _WORDS}
        self.seeds = _ALIGNMENT
        end = self.seeds + _aligned(2 * most["samples"])
        self.starts: dict[str, int] = {}
        for size, names in _WORDS.items():
            for name in names:
                self.starts[name] = end
                end += _aligned(most[size])
        self.num_words = end


def _aligned(count: int) -> int:
    return ceil_div(count, _ALIGNMENT) * _ALIGNMENT


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

    def put(self, name: str, values: Column, count: int, padding: float) -> None:
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
        device: Where the steps run.
        poison: Fill buffers with -1 before they are written: a step that reads what was never written fails loudly.
    """

    def __init__(
        self,
        shapes: Sequence[StepShape],
        *,
        trash_slot: int,
        device: torch.device,
        poison: bool = False,
    ) -> None:
        self._is_cuda = device.type == "cuda"
        self._layout = _Layout(shapes)
        self._buffers = [_HostBuffer(self._layout, is_pinned=self._is_cuda) for _ in range(2)]
        self._next = 0
        self._paddings: dict[str, float] = {
            name: trash_slot if name.endswith("slots") else _PADDING.get(name, 0)
            for names in _WORDS.values()
            for name in names
        }
        self._poison = poison
        self._words = torch.zeros(self._layout.num_words, dtype=torch.int32, device=device)
        # Padding only, before anything is written: steps are recorded then.
        largest = StepShape(*(max(getattr(shape, name) for shape in shapes) for name in StepShape.__slots__))
        self.copy(self.write({}, largest, seeds=[]))
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
            decode=DecodeRows(
                rows=field("decode_rows"),
                slots=field("decode_slots"),
                lengths=field("lengths"),
                parts=DecodeParts(*(field(name) for name in _WORDS["parts"])),
            ),
            prefill=tiles,
            sample_rows=field("sample_rows"),
            sample_slots=field("sample_slots"),
            drawing=DrawRows(seeds, field("temperatures"), field("top_ks"), field("top_ps")),
            page_entries=field("page_entries"),
            pages=field("pages"),
        )

    def write(self, columns: Mapping[str, Column], shape: StepShape, *, seeds: Sequence[int]) -> int:
        """Fill a host buffer; padding up to the sizes of `shape`. Returns its number, for `copy`.

        Args:
            columns: By name of the field. What is missing is all padding.
            shape: Which recorded step is to read it.
            seeds: What each row that samples draws by.
        """
        number, self._next = self._next, 1 - self._next
        buffer = self._buffers[number]
        if buffer.copied is not None:
            buffer.copied.synchronize()  # two steps ago: long over
        if self._poison:
            buffer.words.fill_(_POISON)
        buffer.turn[0] = number
        for size, names in _WORDS.items():
            count = getattr(shape, size)
            if count:
                for name in names:
                    buffer.put(name, columns.get(name, ()), count, self._paddings[name])
        buffer.seeds[: len(seeds)] = seeds
        buffer.seeds[len(seeds) : shape.samples] = 0
        return number

    def copy(self, number: int) -> None:
        """Queue the copy of a written buffer to the device."""
        buffer = self._buffers[number]
        self._words.copy_(buffer.words, non_blocking=True)
        if self._is_cuda:
            buffer.copied = torch.cuda.Event()
            buffer.copied.record()
