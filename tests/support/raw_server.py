"""A server that answers with bytes as they are: broken, endless, or more than anyone asked for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import repeat

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
"""The head of a stream that ends with its connection."""
CONTENT = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}\n\n'
DONE = b"data: [DONE]\n\n"
_MOST_BYTES = 256 << 20
"""Nothing endless goes on beyond this: it shows that nobody stopped reading."""


@dataclass(slots=True)
class RawServer:
    """What a test asks of it afterwards."""

    url: str = ""
    heads: list[bytes] = field(default_factory=list)
    """Of the requests, in order."""
    taken_bytes: int = 0
    """How much of its answers went out, buffers of the two sockets included."""


Answer = Callable[[asyncio.StreamWriter], Awaitable[None]] | Iterable[bytes]
"""What is sent for a request: pieces, or a coroutine that sends them itself."""


@asynccontextmanager
async def raw_server(*answers: Answer) -> AsyncIterator[RawServer]:
    """A server whose connections answer the first request with the first answer, and so on; then they close."""
    server = RawServer()
    left: Iterator[Answer] = iter(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = await reader.readuntil(b"\r\n\r\n")
            server.heads.append(head)
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    await reader.readexactly(int(line.partition(b":")[2]))
            answer = next(left)
            if callable(answer):
                await answer(writer)
            else:
                for piece in answer:
                    writer.write(piece)
                    await writer.drain()
                    server.taken_bytes += len(piece)
                    if server.taken_bytes > _MOST_BYTES:
                        break
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listening.close()


def endless(*start: bytes, piece: bytes) -> Iterable[bytes]:
    """The start, and then one piece again and again."""
    yield from start
    yield from repeat(piece)
