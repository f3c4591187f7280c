"""Scrapes a server's metrics at a steady interval during a run, without delaying the traffic."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from .gpu_watch import GpuWatch
from .server_metrics import ServerSample

_PATIENCE = 3
"""Scrapes of a server that never answered before the watch gives up."""

Read = Callable[[], Awaitable[ServerSample | None]]
"""One scrape. None: it answered with no known metrics."""


class ServerWatch:
    """Records a server's own metrics, and those of the GPUs."""

    def __init__(
        self,
        on_sample: Callable[[ServerSample], None],
        *,
        interval_s: float = 1.0,
        url: str | None = None,
        gpu: GpuWatch | None = None,
    ) -> None:
        """Prepare to watch.

        Args:
            on_sample: Called with each sample.
            interval_s: Time between scrapes.
            url: The URL of the metrics, if not the target's own /metrics.
            gpu: The GPUs that the server runs on, if they are this machine's. The caller enters and leaves it.
        """
        self.interval_s = interval_s
        self.url = url
        self.has_seen = False
        """Whether the server has reported any metrics."""
        self._on_sample = on_sample
        self._gpu = gpu

    def add(self, sample: ServerSample) -> None:
        """Note a sample."""
        self.has_seen = self.has_seen or sample.kind is not None
        self._on_sample(sample)

    async def poll(self, read: Read, origin_s: float) -> None:
        """Scrape the server at each interval since `origin_s`, until cancelled or there is nothing to record.

        A scrape that takes longer than an interval replaces the next one.
        """
        clock = asyncio.get_running_loop().time
        number, num_silent, asks = 0, 0, True
        while asks or (self._gpu is not None and self._gpu.is_reading):
            await asyncio.sleep(origin_s + number * self.interval_s - clock())
            asked_s = clock()
            sample = await read() if asks else None
            took_s = clock() - asked_s
            if not self.has_seen and (sample is None or sample.unanswered):
                num_silent += 1
                asks = asks and sample is not None and num_silent < _PATIENCE
                sample = None
            elif sample is None and asks:
                sample = ServerSample(unreadable=True)
            sample = self._with_gpu(sample)
            if sample is not None:
                self.add(replace(sample, at_s=round(asked_s - origin_s, 4), took_s=round(took_s, 4)))
            number = max(number + 1, math.ceil((clock() - origin_s) / self.interval_s))

    def _with_gpu(self, sample: ServerSample | None) -> ServerSample | None:
        reading = None if self._gpu is None else self._gpu.take()
        if reading is None:
            return sample
        return replace(
            sample or ServerSample(),
            gpu_power_w=None if reading.power_w is None else round(reading.power_w, 1),
            gpu_busy=None if reading.busy is None else round(reading.busy, 4),
            gpu_memory_bytes=reading.memory_bytes,
        )
