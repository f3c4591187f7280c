"""How often each running sequence has written each token, for penalties."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..attention.transfer import to_device
from ..request import ScheduledChunk

_Written = tuple[str, int, int]
"""Request, its epoch, and its output tokens that are counted."""


class TokenCounts:
    """One tensor `[slots, vocabulary]` on the device, a row for each running sequence with penalties.

    Each token is counted where it is drawn, so that the host need not send what it has known for long, nor know the
    token in flight. A row is counted anew when its sequence comes to it, from its own tokens: after a preemption, say.
    """

    def __init__(self, num_slots: int, device: torch.device) -> None:
        self._num_slots = num_slots
        self._device = device
        self._counts: torch.Tensor | None = None
        self._written: list[_Written] = [("", 0, 0)] * num_slots

    def of(self, chunks: Sequence[ScheduledChunk], last_tokens: torch.Tensor, vocab_size: int) -> torch.Tensor:
        """Counts `[chunks, vocabulary]` int32, tokens in flight among them.

        Args:
            chunks: Which sequences, as they are about to sample.
            last_tokens: `[chunks]`, on the device: the token before, for those that have it in flight.
            vocab_size: Columns of the logits.
        """
        if self._counts is None:
            self._counts = torch.zeros((self._num_slots, vocab_size), dtype=torch.int32, device=self._device)
        stale = [
            index
            for index, chunk in enumerate(chunks)
            if self._written[chunk.request.slot] != (chunk.request.request_id, chunk.epoch, chunk.num_output)
        ]
        if stale:
            self._count_anew([chunks[index] for index in stale], last_tokens[self._indices(stale)])
        return self._counts[self._slots(chunks)]

    def add(self, chunks: Sequence[ScheduledChunk], tokens: torch.Tensor) -> None:
        """Count the tokens `[chunks]` that these sequences have drawn."""
        assert self._counts is not None
        ones = torch.ones(len(chunks), dtype=torch.int32, device=self._device)
        self._counts.index_put_((self._slots(chunks), tokens), ones, accumulate=True)
        for chunk in chunks:
            request = chunk.request
            self._written[request.slot] = (request.request_id, chunk.epoch, chunk.num_output + 1)

    def _count_anew(self, chunks: Sequence[ScheduledChunk], last_tokens: torch.Tensor) -> None:
        assert self._counts is not None
        self._counts.index_fill_(0, self._slots(chunks), 0)
        slots: list[int] = []
        tokens: list[int] = []
        in_flight: list[int] = []
        for index, chunk in enumerate(chunks):
            request = chunk.request
            known = request.token_ids[request.num_prompt : chunk.end]
            slots += [request.slot] * len(known)
            tokens += known
            if len(known) < chunk.num_output:  # the token before this one is in flight: only the device knows it
                in_flight.append(index)
        rows, columns = [self._indices(slots)], [self._indices(tokens)]
        if in_flight:
            rows.append(self._slots([chunks[index] for index in in_flight]))
            columns.append(last_tokens[self._indices(in_flight)])
        where = torch.cat(rows), torch.cat(columns)
        ones = torch.ones(where[0].numel(), dtype=torch.int32, device=self._device)
        self._counts.index_put_(where, ones, accumulate=True)

    def _slots(self, chunks: Sequence[ScheduledChunk]) -> torch.Tensor:
        return self._indices([chunk.request.slot for chunk in chunks])

    def _indices(self, values: Sequence[int]) -> torch.Tensor:
        return to_device(values, self._device, torch.long)
