"""Servers of ours in this process, and raw bytes to and from them."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from abatch.engine.loop.stats import EngineStats
from abatch.engine.null_server.behaviour import Behaviour
from abatch.engine.null_server.server import NullServer
from abatch.engine.server.app import make_app
from abatch.engine.server.front.connections import ConnectionLimits, Connections
from abatch.engine.server.front.listening import Listening
from abatch.engine.server.front.serving import serving
from abatch.engine.server.metrics import ServerMetrics
from abatch.engine.server.state import ServerState
from aiohttp import web

from support.engines import make_ready
from support.waiting import PATIENCE_S

CHAT = b'{"messages": [{"role": "user", "content": "hi"}], "max_tokens": 3, "stream": true}'


def head(method: bytes, path: bytes, *lines: bytes) -> bytes:
    """A request's line and headers."""
    return b"\r\n".join((method + b" " + path + b" HTTP/1.1", b"Host: x", *lines, b"", b""))


def chat_request(body: bytes = CHAT, *lines: bytes) -> bytes:
    return head(b"POST", b"/v1/chat/completions", b"Content-Length: %d" % len(body), *lines) + body


def null_app(**behaviour: Any) -> web.Application:
    """The null server; by default it answers at once."""
    return NullServer(Behaviour(**{"ttft_s": 0.0, "itl_s": 0.0, **behaviour})).app


def engine_app(api_key: str | None = None, max_body_bytes: int = 1 << 20) -> web.Application:
    """That of `abatch serve`, with no engine behind it: requests for answers fail once they are past the front."""
    ready = make_ready()
    engine = SimpleNamespace(ready=ready, is_alive=True, is_responding=True)
    state = ServerState(
        SimpleNamespace(engine=engine, tokenizer=SimpleNamespace(least_tokens=lambda _: 1)),  # type: ignore[arg-type]
        "scripted",
        ServerMetrics(ready, EngineStats, lambda: True),
    )
    return make_app(state, api_key=api_key, max_body_bytes=max_body_bytes)


@dataclass(slots=True)
class Front:
    """A server that runs in this loop."""

    port: int
    connections: Connections
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    """Of its clients, who leave when it stops, if they have not before."""

    async def connect(self, data: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        writer.write(data)
        return reader, writer

    async def exchange(self, data: bytes) -> bytes:
        """All that the server answers until it closes the connection."""
        reader, writer = await self.connect(data)
        try:
            return await asyncio.wait_for(reader.read(), PATIENCE_S)
        finally:
            writer.close()

    async def first_answer(self, data: bytes) -> bytes:
        """The first answer, which has a Content-Length; then the client leaves."""
        reader, writer = await self.connect(data)
        async with asyncio.timeout(PATIENCE_S):
            answer = await reader.readuntil(b"\r\n\r\n")
            (length,) = re.findall(rb"\r\nContent-Length: (\d+)\r\n", answer)
            answer += await reader.readexactly(int(length))
        writer.close()
        return answer

    async def status(self, path: bytes = b"/health") -> int:
        """Of a GET with a connection of its own."""
        return status_of(await self.exchange(head(b"GET", path, b"Connection: close")))


@asynccontextmanager
async def front(app: web.Application, limits: ConnectionLimits | None = None) -> AsyncIterator[Front]:
    """Serve an application as our servers do."""
    with Listening(port=0).bind() as listener:
        logger = logging.getLogger("abatch.test_front")
        async with serving(app, listener, logger, shutdown_timeout_s=0.1, limits=limits) as connections:
            server = Front(listener.getsockname()[1], connections)
            yield server
        for writer in server.writers:
            writer.close()


def status_of(answer: bytes) -> int:
    """Of the first answer in these bytes."""
    assert answer.startswith((b"HTTP/1.0 ", b"HTTP/1.1 ")), answer
    return int(answer[9:12])


async def until(has_happened: Any) -> None:
    """Let the loop run until it has happened."""
    async with asyncio.timeout(PATIENCE_S):
        while not has_happened():  # noqa: ASYNC110 - what happens is not ours to set an event
            await asyncio.sleep(0.005)
