"""Request bodies: what is not read, and what reading may cost."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable

import pytest
from abatch.engine.server.front.bodies import BODIES, Bodies, BodyLimits
from aiohttp import web
from support.fronts import CHAT, Front, chat_request, engine_app, front, head, null_app, status_of
from support.waiting import PATIENCE_S

_APPS: list[Callable[[], web.Application]] = [null_app, engine_app]


@pytest.mark.parametrize("make_app", _APPS)
@pytest.mark.parametrize(
    ("coding", "body"),
    [
        (b"gzip", gzip.compress(bytes(16 << 20))),
        (b"deflate", zlib.compress(CHAT)),
        (b"gzip", b"not gzip at all"),
        (b"identity, gzip", gzip.compress(CHAT)),
        (b"br", b"x"),
    ],
    ids=["bomb", "deflate", "bad", "two", "unknown"],
)
async def test_compressed_bodies_are_refused_before_they_are_inflated(
    make_app: Callable[[], web.Application],
    coding: bytes,
    body: bytes,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def inflated(*_: object, **__: object) -> None:
        raise AssertionError("a body was inflated")

    monkeypatch.setattr("aiohttp.compression_utils.ZLibDecompressor.__init__", inflated)
    async with front(make_app()) as server:
        answer = await server.exchange(chat_request(body, b"Content-Encoding: " + coding, b"Connection: close"))
        assert status_of(answer) == 415
        assert b"unsupported_content_encoding" in answer
        assert b"\r\nAccept-Encoding: identity\r\n" in answer
        plain = await server.exchange(chat_request(CHAT, b"Content-Encoding: identity", b"Connection: close"))
        assert status_of(plain) != 415
    assert not [record for record in caplog.records if "inflated" in str(record.exc_info)]


def _echo(limits: BodyLimits) -> web.Application:
    """Answers with the size of the body."""

    async def echo(request: web.Request) -> web.Response:
        return web.Response(text=str(len(await request.app[BODIES].read(request))))

    import logging

    from abatch.engine.server.front.answers import errors_middleware
    from abatch.engine.server.front.bodies import leave_continue_to_reading

    app = web.Application(middlewares=[errors_middleware(logging.getLogger("abatch.test"))])
    app[BODIES] = Bodies(limits)
    app.router.add_post("/", echo, expect_handler=leave_continue_to_reading)
    return app


async def test_a_body_that_says_it_is_too_large_is_refused_unread() -> None:
    async with front(_echo(BodyLimits(most_bytes=100, option="--max-body"))) as server:
        answer = await server.first_answer(head(b"POST", b"/", b"Content-Length: 101") + b"x")
        assert status_of(answer) == 413
        assert b"over the limit of 100 bytes (--max-body)" in answer
        assert b"\r\nConnection: close\r\n" in answer


async def test_a_chunked_body_is_refused_at_the_byte_over_the_limit() -> None:
    chunked = head(b"POST", b"/", b"Transfer-Encoding: chunked", b"Connection: close")
    async with front(_echo(BodyLimits(most_bytes=100))) as server:
        assert (await server.exchange(chunked + b"64\r\n" + b"x" * 100 + b"\r\n0\r\n\r\n")).endswith(b"100")
        assert status_of(await server.exchange(chunked + b"65\r\n" + b"x" * 101 + b"\r\n0\r\n\r\n")) == 413


async def test_a_body_that_stays_away_is_answered_in_time() -> None:
    async with front(_echo(BodyLimits(most_bytes=100, grace_s=0.05))) as server:
        answer = await server.first_answer(head(b"POST", b"/", b"Content-Length: 50") + b"x")
        assert status_of(answer) == 408


async def test_a_slow_body_may_take_longer_if_it_is_large() -> None:
    """At 0.1 bytes per second, the first ten earn the others a hundred seconds."""
    async with front(_echo(BodyLimits(most_bytes=100, grace_s=0.5, least_bytes_per_s=0.1))) as server:
        reader, writer = await server.connect(head(b"POST", b"/", b"Content-Length: 60", b"Connection: close"))
        for _ in range(3):
            writer.write(b"x" * 20)
            await asyncio.sleep(0.3)
        assert (await asyncio.wait_for(reader.read(), PATIENCE_S)).endswith(b"60")
        writer.close()


async def test_all_bodies_together_have_a_limit() -> None:
    async with front(_echo(BodyLimits(most_bytes=1000, most_bytes_together=1500))) as server:
        unfinished = head(b"POST", b"/", b"Content-Length: 1000") + b"x" * 900
        _, first = await server.connect(unfinished)
        await asyncio.sleep(0.1)
        assert status_of(await server.first_answer(unfinished)) == 429
        first.close()
        await asyncio.sleep(0.1)
        whole = head(b"POST", b"/", b"Content-Length: 1000", b"Connection: close") + b"x" * 1000
        assert status_of(await server.exchange(whole)) == 200


async def _expecting(server: Front, *lines: bytes) -> bytes:
    request = head(b"POST", b"/v1/chat/completions", b"Expect: 100-continue", b"Content-Length: %d" % len(CHAT), *lines)
    reader, writer = await server.connect(request)
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
    if answer == b"HTTP/1.1 100 Continue\r\n\r\n":
        writer.write(CHAT)
        answer += await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
    writer.close()
    return answer


async def test_a_client_that_waits_to_be_told_is_told_once_its_key_was_right() -> None:
    async with front(null_app()) as server:
        assert b"\r\n\r\nHTTP/1.1 200 OK\r\n" in await _expecting(server)
    async with front(engine_app(api_key="right")) as server:
        assert status_of(await _expecting(server, b"Authorization: Bearer wrong")) == 401
        assert status_of(await _expecting(server, b"Authorization: Bearer right")) == 100
        answer = await server.exchange(chat_request(CHAT, b"Expect: rain", b"Connection: close"))
        assert status_of(answer) == 417


async def test_after_a_wrong_key_little_is_read_and_the_connection_ends() -> None:
    async with front(engine_app(api_key="right", max_body_bytes=1 << 30)) as server:
        reader, writer = await server.connect(
            head(b"POST", b"/v1/chat/completions", b"Authorization: Bearer wrong", b"Content-Length: 1000000000")
        )
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
        assert status_of(answer) == 401
        assert b"\r\nConnection: close\r\n" in answer
        # The limit, and what the buffers of both ends hold.
        assert await _num_taken(writer, 1_000_000_000) < 64 << 20
        writer.close()


async def _num_taken(writer: asyncio.StreamWriter, at_most: int) -> int:
    """How many bytes go out before the server closes the connection."""
    num_taken = 0
    while num_taken < at_most:
        writer.write(bytes(1 << 16))
        try:
            await writer.drain()
        except ConnectionError:
            break
        num_taken += 1 << 16
    return num_taken
