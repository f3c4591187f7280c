"""KV blocks in host memory, and the copies to and from a device's."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from ..attention.kv_cache import KVCache
from ..kv.block_copy import BlockCopy, LaunchedCopy


@dataclass(frozen=True, slots=True)
class _FinishedCopy:
    """On a CPU a copy is done when it has been made."""

    seconds: float

    def is_done(self) -> bool:
        return True

    def duration_s(self) -> float:
        return self.seconds


@dataclass(frozen=True, slots=True)
class _CudaCopy:
    """A copy on a stream of its own, beside the model's work."""

    start: torch.cuda.Event
    end: torch.cuda.Event

    def is_done(self) -> bool:
        return bool(self.end.query())

    def duration_s(self) -> float:
        return float(self.start.elapsed_time(self.end)) / 1e3


class HostKV:
    """The host's blocks: one tensor `[host blocks, layers, 2, block size, KV heads, head size]`, pinned for CUDA.

    Copies run in order of their launch in each direction. One out waits on the device for the work launched so far,
    which may still write what it reads. One back in does not: its blocks were free, so nothing launched touches them,
    and nothing that reads them is launched before the host has seen the copy's end.
    """

    def __init__(self, cache: KVCache, num_blocks: int) -> None:
        self._cache = cache
        self._is_cuda = cache.data.device.type == "cuda"
        # Not zeroed: no block is read that was not written first, and host memory should be touched only when used.
        self._data = torch.empty((num_blocks, *cache.data.shape[1:]), dtype=cache.data.dtype, pin_memory=self._is_cuda)
        if self._is_cuda:
            device = cache.data.device
            self._streams = {direction: torch.cuda.Stream(device) for direction in ("offload", "restore")}

    def copy(self, copy: BlockCopy) -> LaunchedCopy:
        """Make a copy, or, where there are streams, begin it."""
        sources, targets = (self._cache.data, self._data), (copy.device_ids, copy.host_ids)
        if copy.direction == "restore":
            sources, targets = sources[::-1], targets[::-1]
        if self._is_cuda:
            return self._launch(copy, *sources, *targets)
        started_s = time.perf_counter()
        (source, target), (source_ids, target_ids) = sources, targets
        target.index_copy_(0, torch.tensor(target_ids), source.index_select(0, torch.tensor(source_ids)))
        return _FinishedCopy(time.perf_counter() - started_s)

    def _launch(
        self, copy: BlockCopy, source: torch.Tensor, target: torch.Tensor, source_ids: list[int], target_ids: list[int]
    ) -> _CudaCopy:
        stream = self._streams[copy.direction]
        if copy.direction == "offload":
            stream.wait_stream(torch.cuda.current_stream())
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        with torch.cuda.stream(stream):
            start.record()
            for first_source, first_target, length in _runs(source_ids, target_ids):
                target[first_target : first_target + length].copy_(
                    source[first_source : first_source + length], non_blocking=True
                )
            end.record()
        return _CudaCopy(start, end)


def _runs(sources: Sequence[int], targets: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """(source, target, length) of blocks that lie next to each other on both sides: one copy each."""
    start = 0
    for index in range(1, len(sources) + 1):
        is_next = (
            index < len(sources)
            and sources[index] == sources[index - 1] + 1
            and targets[index] == targets[index - 1] + 1
        )
        if not is_next:
            yield sources[start], targets[start], index - start
            start = index
