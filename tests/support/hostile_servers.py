"""Servers that send what no server should: what `hostile_targets.py` aims the client at."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from support.raw_server import CONTENT, DONE, END, STREAM

_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
_JSON = b"HTTP/1.1 %d OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
_MODELS = _JSON % 200 + b'{"object":"list","data":[{"id":"hostile"}]}'
_HONEST_REQUESTS = 2
"""The client asks twice how the server counts tokens, and would not begin otherwise."""
_BOMB = gzip.compress(b"\0" * (64 << 20), 9)

Answer = Callable[["Peer"], AsyncIterator[bytes]]
"""What a server sends, piece by piece."""


@dataclass(slots=True)
class Peer:
    """A connection, and what was asked over it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int
    """Of the requests of this kind so far."""
    num_tokens: int
    url: str


@dataclass(slots=True)
class HostileServer:
    """A server that is honest where it is not told otherwise.

    Attributes:
        sent_bytes: Of all answers.
        asked: How often, by path.
    """

    chat: Answer | None = None
    models: Answer | None = None
    metrics: Answer | None = None
    url: str = ""
    sent_bytes: int = 0
    asked: dict[str, int] = field(default_factory=dict)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen on a free port of this machine until the context is left."""
        tasks: set[asyncio.Task[None]] = set()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._serve(reader, writer)
            writer.close()
            tasks.discard(task)

        listening = await asyncio.start_server(connected, "127.0.0.1", 0)
        host, port = listening.sockets[0].getsockname()
        self.url = f"http://{host}:{port}"
        try:
            yield
        finally:
            listening.close()
            for task in [*tasks]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split()[1]
        body = b""
        for line in head.lower().splitlines():
            if line.startswith("content-length:"):
                body = await reader.readexactly(int(line.partition(":")[2]))
        self.asked[path] = self.asked.get(path, 0) + 1
        answers: dict[str, tuple[Answer | None, Answer]] = {
            "/v1/models": (self.models, _pieces(_MODELS)),
            "/metrics": (self.metrics, _pieces(_JSON % 404)),
            "/v1/chat/completions": (self.chat, honest),
        }
        hostile, usual = answers.get(path, (None, _pieces(_JSON % 404)))
        number = self.asked[path]
        if hostile is None or (path == "/v1/chat/completions" and number <= _HONEST_REQUESTS):
            hostile = usual
        peer = Peer(reader, writer, number, max(1, body.count(b" ")), self.url)
        async for piece in hostile(peer):
            writer.write(piece)
            await writer.drain()
            self.sent_bytes += len(piece)


def _pieces(*pieces: bytes) -> Answer:
    async def answer(_: Peer) -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    return answer


def usage(json: bytes) -> bytes:
    """An event with token counts."""
    return b'data: {"choices":[],"usage":%s}\n\n' % json


_WHOLE = CONTENT * 8 + END + usage(b'{"completion_tokens":8,"prompt_tokens":30}') + DONE


async def honest(peer: Peer) -> AsyncIterator[bytes]:
    """Eight tokens, and what they are."""
    yield STREAM + CONTENT
    for _ in range(7):
        await asyncio.sleep(0.002)
        yield CONTENT
    yield END + usage(b'{"prompt_tokens":%d,"completion_tokens":8}' % peer.num_tokens) + DONE


def _endless(*start: bytes, piece: bytes) -> Answer:
    async def answer(_: Peer) -> AsyncIterator[bytes]:
        for one in start:
            yield one
        while True:
            yield piece

    return answer


def _slowly(text: bytes, pause_s: float) -> Answer:
    async def answer(_: Peer) -> AsyncIterator[bytes]:
        for start in range(len(text)):
            yield text[start : start + 1]
            await asyncio.sleep(pause_s)

    return answer


def _in_chunks(text: bytes, size: int) -> Answer:
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    return _pieces(_CHUNKED, *(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces), b"0\r\n\r\n")


def _freezing(*pieces: bytes) -> Answer:
    async def answer(_: Peer) -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece
        await asyncio.sleep(60)

    return answer


def _resetting(*pieces: bytes) -> Answer:
    async def answer(peer: Peer) -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece
        peer.writer.transport.abort()

    return answer


def _with_usage(json: bytes) -> Answer:
    return _pieces(STREAM + CONTENT, CONTENT * 7, END + usage(json) + DONE)


async def _loop(peer: Peer) -> AsyncIterator[bytes]:
    yield b"HTTP/1.1 307 Away\r\nLocation: %s/v1/chat/completions\r\nContent-Length: 0\r\n\r\n" % peer.url.encode()


async def _ahead(_: Peer) -> AsyncIterator[bytes]:
    """The answer, and soon after it those to requests that were not sent yet."""
    response = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(_WHOLE), _WHOLE)
    yield response
    await asyncio.sleep(0.001)
    while True:
        yield response * 100


def _event(size: int) -> bytes:
    return b'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n' % (b"w" * size)


CHAT: dict[str, tuple[str | None, Answer]] = {
    "endless chunks": ("too_much", _endless(STREAM, piece=CONTENT * 1000)),
    "endless long texts": ("too_much", _endless(STREAM, piece=_event(60_000))),
    "endless events without content": ("too_much", _endless(STREAM, piece=b'data: {"choices":[]}\n\n' * 4000)),
    "endless comments": ("too_much", _endless(STREAM, piece=b": ping\n\n" * 8000)),
    "endless blank lines": ("too_much", _endless(STREAM, piece=b"\n" * 65536)),
    "one line without end": ("too_much", _endless(STREAM, b"data: ", piece=b"w" * 65536)),
    "endless tool calls": (
        "too_much",
        _endless(STREAM, piece=b'data: {"choices":[{"delta":{"tool_calls":[[],[],[]]}}]}\n\n' * 1000),
    ),
    "one event of 15 MB": ("too_much", _pieces(STREAM, _event(15 << 20), END, DONE)),
    "a finish reason of 10 MB": (
        "too_much",
        _pieces(STREAM, CONTENT, b'data: {"choices":[{"finish_reason":"%s"}]}\n\n' % (b"r" * (10 << 20)), DONE),
    ),
    "a finish reason of 0.5 MB": (
        None,
        _pieces(STREAM, CONTENT, b'data: {"choices":[{"finish_reason":"%s"}]}\n\n' % (b"r" * (1 << 19)), DONE),
    ),
    "an event of 300,000 choices": (
        None,
        _pieces(STREAM, CONTENT, b'data: {"choices":[%s{}]}\n\n' % (b"{}," * 300_000), END, DONE),
    ),
    "gigabytes behind the end": (None, _endless(STREAM, CONTENT, END + DONE, piece=b"\0" * 65536)),
    "an error event of 0.5 MB": (
        "server_error",
        _pieces(STREAM, b'data: {"error":{"message":"%s","type":"x"}}\n\n' % (b"m" * (1 << 19))),
    ),
    "an HTML page": ("bad_response", _pieces(STREAM, b"<!doctype html>\n<p>Please log in</p>\n")),
    "an endless HTML page": ("too_much", _endless(STREAM, b"<html>", piece=b"<p>no</p>\n" * 6000)),
    "endless JSON": ("too_much", _endless(_JSON % 200, b'{"choices":[', piece=b'{"text":"hello"},' * 4000)),
    "an error of gigabytes": ("http_500", _endless(_JSON % 500, piece=b"w" * 65536)),
    "a gzip bomb": ("too_much", _pieces(_JSON.replace(b"\r\n", b"\r\nContent-Encoding: gzip\r\n", 1) % 200, _BOMB)),
    "an error as a gzip bomb": (
        "http_503",
        _pieces(_JSON.replace(b"\r\n", b"\r\nContent-Encoding: gzip\r\n", 1) % 503, _BOMB),
    ),
    "nested JSON": ("bad_response", _pieces(STREAM, b"data: " + b'{"choices":[' * 50_000 + b"\n\n")),
    "half a surrogate pair": ("empty", _pieces(STREAM, b'data: {"x":"\\ud800","choices":[]}\n\n', END, DONE)),
    "bytes that are no text": (None, _pieces(STREAM, CONTENT.replace(b'"x"', b'"\xff\xfe"'), END, DONE)),
    "a header without end": ("bad_response", _endless(b"HTTP/1.1 200 OK\r\nX: ", piece=b"w" * 65536)),
    "headers without end": ("bad_response", _endless(b"HTTP/1.1 200 OK\r\n", piece=b"X: y\r\n" * 8000)),
    "a status line without end": ("bad_response", _endless(b"HTTP/1.1 200 ", piece=b"w" * 65536)),
    "no HTTP": ("bad_response", _endless(piece=b"\0" * 65536)),
    "headers in drops": ("timeout", _slowly(STREAM + CONTENT, 0.2)),
    "frozen in its headers": ("timeout", _freezing(STREAM[:20])),
    "frozen in its answer": ("timeout", _freezing(STREAM, CONTENT)),
    "closed at once": ("disconnected", _pieces()),
    "reset at once": ("disconnected", _resetting()),
    "reset in its answer": ("disconnected", _resetting(STREAM, CONTENT)),
    "an answer in drops": (None, _in_chunks(_WHOLE, 1)),
    "events cut anywhere, with CR": (None, _in_chunks(b"\xef\xbb\xbf" + _WHOLE.replace(b"\n", b"\r"), 7)),
    "a chunk size without end": ("bad_response", _endless(_CHUNKED, piece=b"f" * 4096)),
    "a chunk extension without end": ("timeout", _endless(_CHUNKED, b"1;", piece=b"x" * 65536)),
    "100 Continue without end": ("too_much", _endless(piece=b"HTTP/1.1 100 Continue\r\n\r\n" * 2000)),
    "answers nobody asked for": (None, _ahead),
    "204": ("http_204", _pieces(b"HTTP/1.1 204 No Content\r\n\r\n")),
    "206": ("http_206", _pieces(b"HTTP/1.1 206 Partial\r\nContent-Length: 2\r\n\r\nhi")),
    "101": ("http_101", _pieces(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")),
    "a redirect elsewhere": (
        "redirect",
        _pieces(b"HTTP/1.1 307 Away\r\nLocation: http://u:s3cret@127.0.0.2:1/x?s3cret\r\nContent-Length: 0\r\n\r\n"),
    ),
    "a redirect in a circle": ("redirect", _loop),
}
"""What it answers a chat request with, and the class of failure that this is; None: it is a success after all."""

USAGE: dict[str, Answer] = {
    "usage of 401 digits": _with_usage(b'{"prompt_tokens":30,"completion_tokens":%s}' % (b"9" * 401)),
    "usage of 5,001 digits": _with_usage(b'{"prompt_tokens":30,"completion_tokens":%s}' % (b"9" * 5001)),
    "usage of 10^30": _with_usage(b'{"prompt_tokens":30,"completion_tokens":1%s}' % (b"0" * 30)),
    "usage of 1e308": _with_usage(b'{"prompt_tokens":1e308,"completion_tokens":1e308}'),
    "usage of -7": _with_usage(b'{"prompt_tokens":-7,"completion_tokens":-7}'),
    "usage of a million in eight chunks": _with_usage(b'{"prompt_tokens":30,"completion_tokens":1000000}'),
    "usage in words": _with_usage(b'{"prompt_tokens":"30","completion_tokens":"eight"}'),
    "usage of true": _with_usage(b'{"prompt_tokens":true,"completion_tokens":true}'),
    "usage of half a token": _with_usage(b'{"prompt_tokens":0.5,"completion_tokens":7.5}'),
    "usage in a list": _with_usage(b"[30,8]"),
    "usage of 0.5 MB": _with_usage(b'{"completion_tokens":8,"x":"%s"}' % (b"w" * (1 << 19))),
    "usage of no tokens for much text": _with_usage(b'{"prompt_tokens":0,"completion_tokens":0}'),
}
"""Token counts that cannot be right: all answers succeed, and rules on tokens are inconclusive."""

_PAGE = b"vllm:num_requests_running %s\nvllm:num_requests_waiting 1\nvllm:num_preemptions_total %d\n"
_ABATCH = b"abatch_requests_running 1\nabatch_steps_total %s\nabatch_host_seconds_total %s\n"


def _says(page: bytes, head: bytes = _JSON % 200) -> Answer:
    return _pieces(head, page)


def _later(answer: Answer) -> Answer:
    """Honest at first."""

    async def either(peer: Peer) -> AsyncIterator[bytes]:
        async for piece in (answer if peer.number > 3 else _says(_PAGE % (b"1", 0)))(peer):
            yield piece

    return either


async def _backwards(peer: Peer) -> AsyncIterator[bytes]:
    yield _JSON % 200 + _PAGE % (b"1", 1000 - peer.number)


METRICS: dict[str, tuple[str, Answer]] = {
    "metrics of 1..2e+-": ("num_requests_running", _says(_PAGE % (b"1..2e+-", 0))),
    "metrics of 1e999": ("num_requests_running", _says(_PAGE % (b"1e999", 0))),
    "metrics of NaN": ("num_requests_running", _says(_PAGE % (b"NaN", 0))),
    "metrics of -1": ("num_requests_running", _says(_PAGE % (b"-1", 0))),
    "metrics of a million digits": ("num_requests_running", _says(_PAGE % (b"9" * 1_000_000, 0))),
    "metrics twice": ("num_requests_running", _says(_PAGE % (b"1", 0) + _PAGE % (b"2", 0))),
    "metrics that go backwards": ("went backwards", _backwards),
    "metrics of abatch, 1..2e+-": ("", _says(_ABATCH % (b"1..2e+-", b"1e999"))),
    "metrics without end": ("", _endless(_JSON % 200, piece=b"# w\n" * 16000)),
    "metrics of 90,000 series": (
        "",
        _says(b"".join(b'vllm:num_requests_running{a="%d"} 1\n' % number for number in range(90_000))),
    ),
    "metrics in binary": ("", _says(bytes(range(256)) * 4000)),
    "metrics as a gzip bomb": ("", _says(_BOMB, _JSON.replace(b"\r\n", b"\r\nContent-Encoding: gzip\r\n", 1) % 200)),
    "metrics in drops": ("", _slowly(_JSON % 200 + _PAGE % (b"1", 0), 0.3)),
    "metrics redirected": ("", _pieces(b"HTTP/1.1 307 Away\r\nLocation: http://127.0.0.2:1/metrics\r\n\r\n")),
    "metrics that become a 404": ("nothing that is known", _later(_pieces(_JSON % 404))),
    "metrics that become garbage": ("nothing that is known", _later(_says(b"\xff\x00" * 4000))),
    "metrics that become endless": ("nothing that is known", _later(_endless(_JSON % 200, piece=b"# w\n" * 16000))),
    "metrics that become a redirect": (
        "nothing that is known",
        _later(_pieces(b"HTTP/1.1 307 Away\r\nLocation: http://127.0.0.2:1/\r\n\r\n")),
    ),
    "metrics that freeze": ("", _later(_freezing(_JSON % 200))),
}
"""Pages of metrics, and what the report says of them. Nothing of the traffic changes."""

MODELS: dict[str, tuple[str, Answer]] = {
    "models without end": (
        "more than 4,194,304 bytes",
        _endless(_JSON % 200, b'{"data":[', piece=b'{"id":"m"},' * 6000),
    ),
    "a model with a name of 2 MB": ("name", _says(b'{"object":"list","data":[{"id":"%s"}]}' % (b"m" * (2 << 20)))),
    "models as a gzip bomb": (
        "more than 4,194,304 bytes",
        _says(_BOMB, _JSON.replace(b"\r\n", b"\r\nContent-Encoding: gzip\r\n", 1) % 200),
    ),
    "models nested": ("no OpenAI-compatible list", _says(b"[" * 1_000_000)),
    "models as an endless error": ("returned 500", _endless(_JSON % 500, piece=b"w" * 65536)),
    "models elsewhere": (
        "redirects to http://127.0.0.2:1/",
        _pieces(b"HTTP/1.1 302 Away\r\nLocation: http://u:s3cret@127.0.0.2:1/\r\n\r\n"),
    ),
    "models reset": ("cannot reach", _resetting()),
}
"""Lists of models, and what the one line says with which the command ends."""
