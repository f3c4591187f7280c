"""One connection of a client: aiohttp's, with limits on its time and a log without its headers."""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from ...errors import RequestError
from .answers import error_response
from .connections import Connections, Phase
from .repeated_log import RepeatedLog

_KEEP_ALIVE_S = 3600.0
"""Longer than proxies keep theirs, so that it is not our end which closes one that is about to be used."""
_LINGER_S = 5.0
"""For how long a body is thrown away that an answer did not wait for: closed at once, a client may lose the answer."""
_DISCARDED_BYTES = 1 << 20
"""How much of a body is thrown away after a wrong key."""

_TOO_LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
"""To a client that was not done asking: it may ask again."""


class Connection(web.RequestHandler):
    """A client's connection, from its acceptance to its end."""

    __slots__ = (
        "_connections",
        "_is_writing_paused",
        "_log",
        "_num_discardable",
        "_own_transport",
        "is_spare",
        "phase",
    )

    def __init__(
        self, server: web.Server, connections: Connections, log: RepeatedLog, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type] # which is how aiohttp's own AppRunner leaves it out, too
            auto_decompress=False,
            keepalive_timeout=_KEEP_ALIVE_S,
            lingering_time=_LINGER_S,
        )
        self._connections = connections
        self._log = log
        self._is_writing_paused = False
        self._num_discardable: int | None = None
        self._own_transport: asyncio.Transport | None = None
        """aiohttp forgets its own when it closes it, although that may take as long as the client likes."""
        self.is_spare = False
        self.phase: Phase | None = None

    def cut(self, *, is_asking: bool) -> None:
        """End it now; what has not been sent is lost."""
        if self._own_transport is not None:
            if is_asking:
                self._own_transport.write(_TOO_LATE)
            self._own_transport.abort()

    def begin(self) -> None:
        """A request's head is complete."""
        self._connections.move(self, Phase.STALLED if self._is_writing_paused else Phase.REQUEST)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._own_transport = transport
        if self.phase is None:  # it lost its place while it was being set up
            transport.abort()
            return
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._connections.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if data and self.phase is Phase.IDLE:
            self._connections.move(self, Phase.HEAD)
        if self._num_discardable is not None:
            self._num_discardable -= len(data)
            if self._num_discardable < 0:
                self.cut(is_asking=False)
                return
        try:
            super().data_received(data)
        except Exception as error:  # older versions of aiohttp's parser do not expect every URL
            self._log.warning("malformed HTTP", f"the parser failed with {type(error).__name__}")
            self.cut(is_asking=False)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._is_writing_paused = True
        if self.phase is Phase.REQUEST:
            self._connections.move(self, Phase.STALLED)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._is_writing_paused = False
        if self.phase is Phase.STALLED:
            self._connections.move(self, Phase.REQUEST)

    async def start(self) -> None:
        try:
            await super().start()
        finally:
            self._connections.move(self, Phase.CLOSING)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        if self.is_spare or not request.content.is_eof():  # the rest of the body would have to be read first
            resp.force_close()
        if resp.status == 401:
            self._num_discardable = _DISCARDED_BYTES
        answer = await super().finish_response(request, resp, start_time)
        self._connections.move(self, Phase.IDLE if resp.keep_alive else Phase.CLOSING)
        return answer

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if isinstance(exc, ConnectionError):  # the client has left
            raise exc
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        # What it says of itself quotes the request, and with it perhaps a key.
        fault = type(exc).__name__
        self._log.warning("malformed HTTP", f"{fault} from {request.remote}")
        response = error_response(RequestError(f"malformed HTTP: {fault}", status=status, code="malformed_http"))
        response.force_close()
        return response
