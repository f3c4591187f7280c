"""One request over HTTP, sent again where that is right: on a new connection, or to where the server says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import aiohttp
from yarl import URL

from ..http.body import read_error_body
from ..http.network import Network
from ..http.session import ClosedEarlyError, open_session
from .client_limit import CLIENT_LIMIT
from .connection_timing import connection_timing
from .patience import retry_after_s
from .redirects import MOST_REDIRECTS, REDIRECT, followed, redirect_in_words, redirect_of
from .server_url import ServerUrl, hide_credentials
from .streams.reading import read_answer
from .target import Call, Reply
from .unreachable import PROXY_WANTS_CREDENTIALS
from .wire.api import Api
from .wire.failures import error_message

_MOST_CONNECT_S = 30.0


class Poster:
    """Sends requests to one server.

    Attributes:
        http: The session of ordinary requests.
        on_warning: Is told what a user should know of how the server behaves.
    """

    def __init__(
        self, server: ServerUrl, headers: Mapping[str, str], network: Network, on_warning: Callable[[str], None]
    ) -> None:
        def session(*, is_reusing: bool) -> aiohttp.ClientSession:
            traces = [connection_timing()]
            return open_session(headers, network=network, url=server.base, traces=traces, is_reusing=is_reusing)

        self.http = session(is_reusing=True)
        # Where the server has closed one idle connection it may be about to close the others: none of them is used.
        self._fresh = session(is_reusing=False)
        self._server = server
        self._on_warning = on_warning

    async def close(self) -> None:
        """Close all connections."""
        await self.http.close()
        await self._fresh.close()

    async def post(
        self, api: Api, body: bytes, headers: Mapping[str, str], call: Call, reply: Reply, timeout_s: float
    ) -> None:
        """Send a body and take in the answer. Whatever is sent again is part of the same latency.

        Raises:
            aiohttp.ClientError, OSError, TimeoutError, RefusedError, msgspec.DecodeError, UnicodeDecodeError,
            RecursionError: there is no answer, or none that can be read.
        """
        clock = asyncio.get_running_loop().time
        ends_s = clock() + timeout_s
        http, url, num_redirects = self.http, self._server.endpoint(api.path), 0
        while True:
            left_s = max(ends_s - clock(), 0.001)
            try:
                async with http.post(
                    url,
                    data=body,
                    headers=headers,
                    timeout=aiohttp.ClientTimeout(total=left_s, sock_connect=min(left_s, _MOST_CONNECT_S)),
                    trace_request_ctx=reply,
                    allow_redirects=False,
                ) as response:
                    place = followed(response) if num_redirects < MOST_REDIRECTS else None
                    if place is None:
                        await _read(response, api, call, reply)
                        return
            except ClosedEarlyError:  # there it cannot happen again: no connection has served another request
                reply.retries += 1
                http = self._fresh
                continue
            url, num_redirects = self._with_credentials(place), num_redirects + 1
            self._on_warning(
                f"the server redirects to {hide_credentials(str(place))}, which takes its time: give that as --url"
            )

    def _with_credentials(self, place: URL) -> URL:
        return place.with_user(self._server.base.user).with_password(self._server.base.password)


async def _read(response: aiohttp.ClientResponse, api: Api, call: Call, reply: Reply) -> None:
    """Take in an answer, or what came in place of one."""
    if response.status == 200:
        await read_answer(response, api, call, reply)
    elif response.status == 407:
        reply.fail(CLIENT_LIMIT, PROXY_WANTS_CREDENTIALS)
    elif (location := redirect_of(response)) is not None:
        reply.fail(REDIRECT, redirect_in_words(response, location))
    else:
        reply.retry_after_s = retry_after_s(response.headers)
        reply.fail(f"http_{response.status}", error_message(await read_error_body(response)))
