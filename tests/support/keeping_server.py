"""A server that answers in HTTP/1.1 and keeps its connections open, up to a request that it treats otherwise."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

_BODY = (
    b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}\n\ndata: [DONE]\n\n'
)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
CLOSES = b"\0closes"
"""At the end of an answer, or in place of one, like the next."""
RESETS = b"\0resets"


@dataclass(slots=True)
class KeepingServer:
    """What a test asks of it afterwards."""

    port: int = 0
    requests: list[tuple[int, bytes]] = field(default_factory=list)
    """Number of the connection, and the head."""
    bodies: list[bytes] = field(default_factory=list)


@asynccontextmanager
async def keeping_server(
    answer: Callable[[int, bytes], bytes] = lambda _, __: ANSWER,
    host: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[KeepingServer]:
    """`answer`: to a request, by how many its connection has had before, and its head."""
    server, num_connections = KeepingServer(), 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal num_connections
        num_connections += 1
        own, num_before = num_connections, 0
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
                )
                server.bodies.append(await reader.readexactly(length))
                server.requests.append((own, head))
                said = answer(num_before, head)
                num_before += 1
                writer.write(said.removesuffix(CLOSES).removesuffix(RESETS))
                await writer.drain()
                if said.endswith(RESETS):
                    writer.transport.abort()
                if said.endswith((CLOSES, RESETS)):
                    break
        writer.close()

    listening = await asyncio.start_server(serve, host, 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
