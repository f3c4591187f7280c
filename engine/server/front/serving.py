"""Serving an application on a listening socket, for all our servers."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from ...errors import RequestError
from .answers import error_response
from .connection import Connection
from .connections import ConnectionLimits, Connections
from .descriptors import connection_limit
from .repeated_log import RepeatedLog

_BACKLOG = 2048
_ACCEPTS_AT_ONCE = 32
"""Then what has arrived on other connections has its turn."""
_FULL_PAUSE_S = 0.05
"""With `ConnectionLimits.spare_turns`, a quarter of a second for a spare connection to ask for /health."""
_FAILED_PAUSE_S = 1.0
_TICK_S = 0.5
_LONGEST_TICK_S = 0.75
HEALTH_PATH = "/health"


@asynccontextmanager
async def serving(
    app: web.Application,
    listener: socket.socket,
    logger: logging.Logger,
    *,
    shutdown_timeout_s: float,
    limits: ConnectionLimits | None = None,
) -> AsyncIterator[Connections]:
    """Serve `app` while the context is open. The listening socket stays the caller's to close.

    A client that hangs up cancels its handler.

    Args:
        app: With /health among its routes.
        listener: Bound; listening or not.
        logger: For trouble with clients; each kind of it at most once a minute.
        shutdown_timeout_s: How long handlers may still run when the context is left.
        limits: Of connections; by default what the descriptor limit allows.
    """
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=shutdown_timeout_s)
    await runner.setup()
    assert runner.server is not None
    log = RepeatedLog(logger)
    connections = Connections(limits or ConnectionLimits(most=connection_limit()), log)
    _guard(runner.server)
    acceptor = _Acceptor(listener, runner.server, connections, log)
    acceptor.start()
    try:
        yield connections
    finally:
        acceptor.stop()
        await runner.cleanup()


def _guard(server: web.Server) -> None:
    """Tell each connection when a request's head is complete, and answer spare ones ourselves."""
    answer = server.request_handler

    async def guarded(request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        assert isinstance(connection, Connection)
        connection.begin()
        if connection.is_spare and request.path != HEALTH_PATH:
            error = RequestError("all connections are in use", status=503, code="too_many_connections")
            response = error_response(error, request)
            response.headers["Retry-After"] = "1"
            return response
        return await answer(request)

    server.request_handler = guarded


class _Acceptor:
    """Accepts connections while there is a place for them; meanwhile the kernel's queue holds them."""

    def __init__(self, listener: socket.socket, server: web.Server, connections: Connections, log: RepeatedLog) -> None:
        self._listener = listener
        self._server = server
        self._connections = connections
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._ticked_s = self._loop.time()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._setups: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        self._listener.setblocking(False)
        self._listener.listen(_BACKLOG)
        self._resume()
        self._tick()

    def stop(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._loop.remove_reader(self._listener)

    def _tick(self) -> None:
        now_s = self._loop.time()
        # However long the loop was busy: what arrived in that time has not been read yet.
        self._connections.advance(min(now_s - self._ticked_s, _LONGEST_TICK_S))
        self._ticked_s = now_s
        self._timers["tick"] = self._loop.call_later(_TICK_S, self._tick)

    def _accept(self) -> None:
        self._connections.begin_turn()
        for _ in range(_ACCEPTS_AT_ONCE):
            if not self._connections.can_join():
                self._pause(_FULL_PAUSE_S)
                return
            try:
                accepted, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # no descriptors or no memory: it would be readable again at once
                self._log.warning("cannot accept connections", error.strerror or str(error))
                self._pause(_FAILED_PAUSE_S)
                return
            accepted.setblocking(False)
            connection = Connection(self._server, self._connections, self._log, self._loop)
            self._connections.join(connection)
            setup = self._loop.create_task(self._set_up(connection, accepted))
            self._setups.add(setup)
            setup.add_done_callback(self._setups.discard)

    async def _set_up(self, connection: Connection, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: connection, accepted)
        except OSError as error:  # the client has left already, or the system has no room for one more
            self._log.warning("cannot set up connections", error.strerror or str(error))
            self._connections.leave(connection)
            accepted.close()

    def _pause(self, length_s: float) -> None:
        self._loop.remove_reader(self._listener)
        self._timers["resume"] = self._loop.call_later(length_s, self._resume)

    def _resume(self) -> None:
        self._loop.add_reader(self._listener, self._accept)
