"""Looks at a server at a steady beat while it is measured, beside the traffic and without holding it up."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Self

import aiohttp
from msgspec.structs import replace
from yarl import URL

from .gpu_watch import GpuWatch
from .server_metrics import ServerSample, parse_server_metrics

_TIMEOUT_S = 2.0
_MAX_BYTES = 4 << 20
_MAX_REDIRECTS = 3
_KEEPALIVE_S = 4.0
"""As for the traffic: common servers close idle connections after five seconds, and that would look like no answer."""
_PATIENCE = 3
"""Looks at a server that has never answered, before it is left alone."""

Read = Callable[[], Awaitable[ServerSample | None]]
"""One look. None: it answered, and said nothing that is known."""


class ServerWatch:
    """Notes what a server says of itself, and what the GPUs do meanwhile."""

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
            on_sample: Is handed each sample as it comes.
            interval_s: From one look to the next.
            url: Where the metrics are, if not at the target's own /metrics.
            gpu: The GPUs that the server runs on, where they are this machine's. Entered and left by whoever made it.
        """
        self.interval_s = interval_s
        self.url = url
        self.has_seen = False
        """The server has said something."""
        self._on_sample = on_sample
        self._gpu = gpu

    def add(self, sample: ServerSample) -> None:
        """Note a sample."""
        self.has_seen = self.has_seen or sample.kind is not None
        self._on_sample(sample)

    async def poll(self, read: Read, origin_s: float) -> None:
        """Look at the server at each interval since `origin_s`, until cancelled or there is nothing to be seen.

        A look that takes longer than an interval takes the place of the next one.
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


class MetricsPage:
    """A page of metrics, read on a connection of its own: the traffic's pool has the same connections with and without.

    Redirects are followed on the same server only, and the traffic's credentials go to its host only.
    """

    def __init__(self, url: str | None, base_url: str, headers: Mapping[str, str]) -> None:
        """Prepare to read.

        Args:
            url: Of the page; None where it is the server's own.
            base_url: Where the traffic goes.
            headers: The traffic's.
        """
        server = URL(base_url)
        page = URL(f"{base_url}/metrics" if url is None else url)
        sent = dict(headers) if page.host == server.host else {"Accept-Encoding": "identity"}
        if page.host == server.host and page.user is None:
            page = page.with_user(server.user).with_password(server.password)
        if page.user is not None:  # which is an Authorization of its own
            sent = {name: value for name, value in sent.items() if name.lower() != "authorization"}
        self._url = page
        self._headers = sent

    async def __aenter__(self) -> Self:
        """Prepare the connection. Nothing is sent yet."""
        self._http = aiohttp.ClientSession(
            headers=self._headers,
            connector=aiohttp.TCPConnector(limit=1, keepalive_timeout=_KEEPALIVE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
            read_bufsize=1 << 20,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connection."""
        await self._http.close()

    async def read(self) -> ServerSample | None:
        """See `Read`."""
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                body = await self._body(self._url)
        except (TimeoutError, OSError, aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
            return ServerSample(unanswered=True)
        except (aiohttp.ClientError, ValueError):  # it speaks no HTTP, or redirects to what is no URL
            return None
        return None if body is None else parse_server_metrics(body)

    async def _body(self, url: URL) -> bytes | None:
        for _ in range(1 + _MAX_REDIRECTS):
            async with self._http.get(url, allow_redirects=False) as response:
                if response.status == 200:
                    return await _limited(response.content)
                if response.status not in (301, 302, 307, 308) or "Location" not in response.headers:
                    return None
                target = url.join(URL(response.headers["Location"]))
                if target.origin() != url.origin():
                    return None
                url = target.with_user(url.user).with_password(url.password)
        return None


async def _limited(content: aiohttp.StreamReader) -> bytes | None:
    body = bytearray()
    async for data in content.iter_any():
        body += data
        if len(body) > _MAX_BYTES:
            return None
    return bytes(body)
