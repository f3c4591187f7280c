"""Which pages each running sequence has, on the device, kept up to date from step to step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from .base import ChunkLayout
from .transfer import to_device


class PageTable:
    """One tensor `[slots, pages]` on the device, a row for each running sequence.

    Only what is new is sent: in a decode step a sequence gets a page once in `block size` steps, and hundreds of rows
    of hundreds of pages would take the host longer to write out than the device takes for the step.

    A sequence that loses its pages gets a new list of block ids when it has some again, and a list only ever grows. So
    a row is up to date where it was written from the same list.
    """

    def __init__(self, num_slots: int, max_num_pages: int, device: torch.device) -> None:
        # Entries behind a sequence's end are never read; -1 is no page, so a read would be seen.
        self.table = torch.full((num_slots, max_num_pages), -1, dtype=torch.int32, device=device)
        self._written: list[tuple[Sequence[int], int]] = [((), 0)] * num_slots
        """By slot: the list its row was written from, and how much of it."""

    def follow(self, chunks: Sequence[ChunkLayout]) -> None:
        """Bring the rows of these chunks up to date, in the order of the device's work.

        Steps launched before may still read the table. They do not read what is written here: a slot is given to
        another sequence only when they are over, and new pages lie behind the positions they know.
        """
        self.write(*self.changes((chunk.slot, chunk.block_ids) for chunk in chunks))

    def changes(self, sequences: Iterable[tuple[int, Sequence[int]]]) -> tuple[list[int], list[int]]:
        """Entries of the flat table that sequences need, by slot and block ids, and the pages to put there.

        They count as written from now on.
        """
        width = self.table.shape[1]
        entries: list[int] = []
        pages: list[int] = []
        for slot, block_ids in sequences:
            source, count = self._written[slot]
            if source is not block_ids:
                count = 0
            total = len(block_ids)
            if count < total:
                if total > width:
                    raise ValueError(f"a sequence has {total} pages, and its row of the page table holds {width}")
                entries += range(slot * width + count, slot * width + total)
                pages += block_ids[count:total]
                self._written[slot] = block_ids, total
        return entries, pages

    def write(self, entries: list[int], pages: list[int]) -> None:
        """Put pages into the table."""
        if entries:
            new = to_device([*entries, *pages], self.table.device, torch.long).view(2, -1)
            self.table.view(-1).index_copy_(0, new[0], new[1].int())
