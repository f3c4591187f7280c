"""A server's page of metrics, fetched without holding up the traffic."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Self

import aiohttp
from yarl import URL

from .server_metrics import ServerSample, parse_server_metrics

_TIMEOUT_S = 2.0
_MAX_BYTES = 4 << 20
_MAX_REDIRECTS = 3
_KEEPALIVE_S = 4.0
"""As for the traffic: common servers close idle connections after five seconds, and that would look like no answer."""


class MetricsPage:
    """A page of metrics, read on its own connection, so that the traffic's connection pool is not affected.

    Follows redirects only on the same server, and sends the traffic's credentials only to its host.
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
        """Scrape the page. None: it answered with no known metrics."""
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                body = await self._body(self._url)
        except (TimeoutError, OSError, aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
            return ServerSample(unanswered=True)
        except (aiohttp.ClientError, ValueError):  # it does not speak HTTP, or redirects to an invalid URL
            return None
        return None if body is None else parse_server_metrics(body)

    async def _body(self, url: URL) -> bytes | None:
        for _ in range(1 + _MAX_REDIRECTS):
            async with self._http.get(url, allow_redirects=False) as response:
                if response.status == 200:
                    return await read_limited(response.content, _MAX_BYTES)
                if response.status not in (301, 302, 307, 308) or "Location" not in response.headers:
                    return None
                target = url.join(URL(response.headers["Location"]))
                if target.origin() != url.origin():
                    return None
                url = target.with_user(url.user).with_password(url.password)
        return None


async def read_limited(content: aiohttp.StreamReader, max_bytes: int) -> bytes | None:
    """A whole body; None if it has more than `max_bytes`."""
    body = bytearray()
    async for data in content.iter_any():
        body += data
        if len(body) > max_bytes:
            return None
    return bytes(body)
