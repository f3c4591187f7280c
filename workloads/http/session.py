"""HTTP sessions whose connections take in what was asked for, and no more."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping
from typing import Any, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler

from .faults import BAD_RESPONSE, TOO_MUCH, RefusedError, http_fault
from .limits import HEADER_LINE_BYTES, QUEUED_RESPONSES

_READ_BYTES = 1 << 16
"""A connection is read ahead by twice as much. More would only be memory: the kernel buffers, too."""
_KEEPALIVE_S = 4.0
"""Common servers close idle connections after five seconds; a request must not use one that is just closing."""


class _Connection(ResponseHandler):
    """A connection that is dropped if the server sends responses that nobody asked for.

    The library queues them without end, and takes the first one for the answer to the next request.
    """

    _body_before: object | None = None
    """Of the response before the request under way."""

    def set_response_params(self, **settings: Any) -> None:
        """A request is about to be sent.

        Raises:
            aiohttp.ServerDisconnectedError: its answer is there already.
        """
        if self._tail or self._buffer:
            raise aiohttp.ServerDisconnectedError("the server sent an answer before it had the request")
        self._body_before = self._payload
        super().set_response_params(**settings)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
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
    timeout_s: float | None = None,
    traces: list[aiohttp.TraceConfig] | None = None,
) -> aiohttp.ClientSession:
    """A session without cookies, without decompression, and without a limit on connections.

    Too small a pool would queue requests inside the client. Proxies and passwords of the environment (HTTP_PROXY,
    .netrc) are not used: requests go where the user says. Call it within the event loop; close the session when done.
    """
    connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=None, keepalive_timeout=_KEEPALIVE_S)
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
    )
