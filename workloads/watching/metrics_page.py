"""A server's page of metrics, fetched without holding up the traffic."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Self

import aiohttp
from yarl import URL

from ..http.body import read_body
from ..http.faults import RefusedError
from ..http.limits import METRICS_BYTES
from ..http.network import DIRECT, Network
from ..http.session import open_session
from .server_metrics import ServerSample, parse_server_metrics

_TIMEOUT_S = 2.0
_MAX_REDIRECTS = 3


class MetricsPage:
    """A page of metrics, read on its own connection, so that the traffic's connection pool is not affected.

    Follows redirects only on the same server, and sends the traffic's credentials only to its host.
    """

    def __init__(self, url: str | None, own: URL, headers: Mapping[str, str], network: Network = DIRECT) -> None:
        """Prepare to read.

        Args:
            url: Of the page; None where it is the server's own.
            own: The page of the server that the traffic goes to.
            headers: The traffic's.
            network: Certificates and proxy.
        """
        page = own if url is None else URL(url)
        sent = dict(headers) if page.host == own.host else {"Accept-Encoding": "identity"}
        if page.host == own.host and page.user is None:
            page = page.with_user(own.user).with_password(own.password)
        if page.user is not None:  # which is an Authorization of its own
            sent = {name: value for name, value in sent.items() if name.lower() != "authorization"}
        self._url = page
        self._headers = sent
        self._network = network

    async def __aenter__(self) -> Self:
        """Prepare the connection. Nothing is sent yet."""
        self._http = open_session(self._headers, network=self._network, url=self._url, timeout_s=_TIMEOUT_S)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connection."""
        await self._http.close()

    async def read(self) -> ServerSample | None:
        """Scrape the page. None: it answered with no known metrics, with too much, or with a redirect elsewhere."""
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                body = await self._body(self._url)
        except (TimeoutError, OSError, aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
            return ServerSample(unanswered=True)
        except (aiohttp.ClientError, RefusedError, ValueError):  # it speaks no HTTP, or redirects to an invalid URL
            return None
        return None if body is None else parse_server_metrics(body)

    async def _body(self, url: URL) -> bytes | None:
        for _ in range(1 + _MAX_REDIRECTS):
            async with self._http.get(url, allow_redirects=False) as response:
                if response.status == 200:
                    return await read_body(response, METRICS_BYTES)
                if response.status not in (301, 302, 307, 308) or "Location" not in response.headers:
                    return None
                target = url.join(URL(response.headers["Location"]))
                if target.origin() != url.origin():
                    return None
                url = target.with_user(url.user).with_password(url.password)
        return None
