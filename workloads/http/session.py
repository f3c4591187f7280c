"""HTTP sessions whose connections take in what was asked for, and no more."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from .faults import BAD_RESPONSE, TOO_MUCH, RefusedError, http_fault
from .limits import HEADER_LINE_BYTES, QUEUED_RESPONSES
from .loopback import LoopbackResolver
from .network import DIRECT, Network

_READ_BYTES = 1 << 16
"""A connection is read ahead by twice as much. More would only be memory: the kernel buffers, too."""
_KEEPALIVE_S = 4.0
"""Common servers close idle connections after five seconds; a request must not use one that is just closing."""


class ClosedEarlyError(aiohttp.ClientConnectionError):
    """The server closed a connection that had served earlier requests, and sent nothing in answer to this one.

    It may well have closed it before the request came: then it is no failure of the server.
    """


class Handshake:
    """How long TLS took on a new connection, once that is there. `HANDSHAKE` is the one of the request under way."""

    began_s = took_s = 0.0


HANDSHAKE: ContextVar[Handshake | None] = ContextVar("handshake", default=None)


class _Connection(ResponseHandler):
    """A connection that is dropped if the server sends responses that nobody asked for.

    The library queues them without end, and takes the first one for the answer to the next request.
    """

    _body_before: object | None = None
    """Of the response before the request under way."""
    _num_requests = 0
    _has_answer = False
    """Whether anything came since the last of them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        # It is made when TCP is connected, and told of a connection when TLS is there too.
        self._handshake = HANDSHAKE.get()
        if self._handshake is not None:
            self._handshake.began_s = loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        if self._handshake is not None and transport.get_extra_info("ssl_object") is not None:
            self._handshake.took_s = self._loop.time() - self._handshake.began_s
        self._handshake = None
        super().connection_made(transport)

    def set_response_params(self, **settings: Any) -> None:
        """A request is about to be sent.

        Raises:
            aiohttp.ServerDisconnectedError: its answer is there already.
        """
        if self._tail or self._buffer:
            raise aiohttp.ServerDisconnectedError("the server sent an answer before it had the request")
        self._body_before = self._payload
        self._num_requests += 1
        self._has_answer = False
        super().set_response_params(**settings)

    def set_exception(self, exc: BaseException, *cause: Any) -> None:
        """The connection broke. What the library calls it hides whether a request can be sent again."""
        is_broken = isinstance(exc, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)
        if is_broken and self._num_requests > 1 and not self._has_answer:
            exc = ClosedEarlyError("the server closed an open connection before it answered")
        super().set_exception(exc, *cause)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._has_answer = True
        if data and self._is_idle():
            self._drop()
            return
        super().data_received(data)
        if len(self._buffer) > QUEUED_RESPONSES:
            self._drop()
        error, body = self.exception(), self._payload
        if error is not None and body is not None and not body.is_eof():
            # The library closes the connection, and leaves whoever reads the body to wait.
            body.set_exception(RefusedError(BAD_RESPONSE, f"the body is not HTTP: {http_fault(error)}"))

    def _is_idle(self) -> bool:
        """Whether the answer to the last request has ended. Of one without a body that is not known."""
        body = self._payload
        if body is None or body is self._body_before or body is aiohttp.EMPTY_PAYLOAD:
            return False
        return body.is_eof()

    def _drop(self) -> None:
        self.set_exception(RefusedError(TOO_MUCH, "the server sent responses that nobody asked for"))
        if self.transport is not None:
            self.transport.abort()


def open_session(
    headers: Mapping[str, str],
    *,
    network: Network = DIRECT,
    url: URL | None = None,
    timeout_s: float | None = None,
    traces: list[aiohttp.TraceConfig] | None = None,
    is_reusing: bool = True,
) -> aiohttp.ClientSession:
    """A session without cookies, without decompression, and without a limit on connections.

    Too small a pool would queue requests inside the client. Proxies and passwords of the environment (HTTP_PROXY,
    .netrc) are not used unless the network says so: requests go where the user says. Call it within the event loop;
    close the session when done.

    Args:
        headers: Of all requests.
        network: Certificates and proxy.
        url: Where requests go, which decides about the proxy.
        timeout_s: Of a whole request, unless it has its own.
        traces: Are told what happens.
        is_reusing: Keep connections open for further requests.
    """
    keeping: dict[str, Any] = {"keepalive_timeout": _KEEPALIVE_S} if is_reusing else {"force_close": True}
    connector = aiohttp.TCPConnector(
        limit=0, ttl_dns_cache=None, resolver=LoopbackResolver(), ssl=network.tls, **keeping
    )
    proxy = None if url is None else network.proxy_for(url)
    through: dict[str, Any] = {} if proxy is None else {"proxy": proxy}  # older libraries do not know it
    connector._factory = cast(Any, functools.partial(_Connection, loop=asyncio.get_running_loop()))
    return aiohttp.ClientSession(
        headers=headers,
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=timeout_s),
        auto_decompress=False,
        read_bufsize=_READ_BYTES,
        max_line_size=HEADER_LINE_BYTES,
        max_field_size=HEADER_LINE_BYTES,
        trust_env=False,
        trace_configs=traces,
        **through,
    )
