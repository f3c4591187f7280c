"""A small proxy: forwards plain requests, and opens tunnels for CONNECT."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass(slots=True)
class Proxy:
    """What a test asks of it afterwards."""

    port: int = 0
    asked: list[str] = field(default_factory=list)
    """First lines of requests."""


@asynccontextmanager
async def proxy(credentials: str | None = None) -> AsyncIterator[Proxy]:
    """`credentials`: `user:password` that it wants."""
    found = Proxy()
    wanted = None if credentials is None else b"Basic " + base64.b64encode(credentials.encode())

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            line, _, rest = head.partition(b"\r\n")
            found.asked.append(line.decode())
            if wanted is not None and wanted not in head:
                writer.write(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            else:
                await _pass_on(line, rest, reader, writer)
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    found.port = listening.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        listening.close()


async def _pass_on(line: bytes, rest: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    method, place, version = line.decode().split()
    url = urlsplit(f"//{place}" if method == "CONNECT" else place)
    try:
        upstream_reader, upstream = await asyncio.open_connection(url.hostname, url.port)
    except OSError:
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        return
    if method == "CONNECT":
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
    else:
        path = f"{url.path}?{url.query}" if url.query else url.path
        upstream.write(f"{method} {path} {version}\r\n".encode() + rest)
    await asyncio.gather(_copy(reader, upstream), _copy(upstream_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
