"""Connections as clients make them: too many, too slow, malformed, or gone."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import socket
from collections.abc import Callable

import pytest
from abatch.engine.server.front.answers import errors_middleware
from abatch.engine.server.front.connections import ConnectionLimits
from abatch.engine.server.front.serving import serving
from aiohttp import web
from support.fronts import CHAT, chat_request, engine_app, front, head, null_app, status_of, until
from support.waiting import PATIENCE_S

_APPS: list[Callable[[], web.Application]] = [null_app, engine_app]


async def test_with_all_places_taken_health_is_still_answered(caplog: pytest.LogCaptureFixture) -> None:
    async with front(null_app(ttft_s=1000.0), ConnectionLimits(most=3, most_spare=2)) as server:
        streams = [await server.connect(chat_request()) for _ in range(3)]
        await until(lambda: server.connections.num_open == 3)
        for _ in range(3):
            assert await server.status() == 200
        refused = await server.exchange(head(b"GET", b"/v1/models"))
        assert status_of(refused) == 503
        assert b"\r\nRetry-After: 1\r\n" in refused
        assert b"too_many_connections" in refused
        streams.pop()[1].close()
        await until(lambda: server.connections.num_open == 2)
        assert await server.status(b"/v1/models") == 200
    assert [record.getMessage() for record in caplog.records] == ["connections: all 3 are in use (see 'ulimit -n')"]


async def test_accepting_waits_while_no_place_is_left() -> None:
    async with front(null_app(ttft_s=1000.0), ConnectionLimits(most=1, most_spare=0)) as server:
        _, stream = await server.connect(chat_request())
        await until(lambda: server.connections.num_open == 1)
        waiting = asyncio.create_task(server.status())
        await asyncio.sleep(0.2)
        assert not waiting.done()
        assert server.connections.num_open == 1
        stream.close()
        assert await asyncio.wait_for(waiting, PATIENCE_S) == 200


async def test_an_idle_connection_makes_room_for_a_new_one() -> None:
    async with front(null_app(), ConnectionLimits(most=1, most_spare=0)) as server:
        reader, writer = await server.connect(head(b"GET", b"/health"))
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        assert await server.status(b"/v1/models") == 200
        assert await reader.read() == b""
        writer.close()


async def test_headers_that_never_end_are_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    async with front(null_app()) as server:
        slow = [await server.connect(b"GET /health HTTP/1.1\r\nX-Slow: ") for _ in range(3)]
        reader, writer = await server.connect(head(b"GET", b"/health") + b"GET /hea")
        await reader.readuntil(b"ok")
        writer.write(b"lth HTT")  # the head of a second request
        await until(lambda: server.connections.num_open == 4)
        await asyncio.sleep(0.05)
        for _ in range(21):
            server.connections.advance(1.0)
        for slow_reader, slow_writer in [*slow, (reader, writer)]:
            assert status_of(await asyncio.wait_for(slow_reader.read(), PATIENCE_S)) == 408
            slow_writer.close()
        await until(lambda: server.connections.num_open == 0)
    (record,) = caplog.records
    assert record.getMessage() == "slow clients: cut off after 20 s: did not finish a request's headers"


async def test_a_client_that_reads_nothing_is_cut_off() -> None:
    left = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(bytes(1 << 20))
        finally:
            left.set()

    app = web.Application()
    app.router.add_get("/endless", endless)
    async with front(app) as server:
        _, writer = await server.connect(head(b"GET", b"/endless"))
        await until(lambda: server.connections.num_open == 1)
        await asyncio.sleep(0.3)
        assert not left.is_set()
        server.connections.advance(61.0)
        await asyncio.wait_for(left.wait(), PATIENCE_S)
        await until(lambda: server.connections.num_open == 0)
        writer.close()


_MALFORMED = [
    b"GET / HTTP/1.1\r\nAuthorization: Bearer SECRET\r\nBad Header SECRET\r\n\r\n",
    b"GET / HTTP/1.1\r\nAuthorization: Bearer SECRET\x00\r\n\r\n",
    b"SECRET SECRET SECRET\r\n\r\n",
    b"\x16\x03\x01\x02\x00SECRET",
    b"GET http://[SECRET HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /" + b"SECRET" * 2000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: " + b"SECRET" * 2000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: SECRET\r\n" % number for number in range(300)) + b"\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nSECRET",
    b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: SECRET\r\n\r\n",
]


@pytest.mark.parametrize("make_app", _APPS)
async def test_malformed_requests_are_one_line_in_the_log_without_what_they_hold(
    make_app: Callable[[], web.Application], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with front(make_app()) as server:
        for request in _MALFORMED:
            answer = await server.exchange(request)
            assert status_of(answer) == 400, request
            error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
            assert error["code"] == "malformed_http"
            assert "SECRET" not in error["message"]
    records = [record for record in caplog.records if record.name != "asyncio"]
    assert [record.getMessage() for record in records] == ["malformed HTTP: BadHttpMessage from 127.0.0.1"]
    assert records[0].exc_info is None


async def test_a_parser_that_fails_is_one_line_and_the_end_of_the_connection(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise ValueError("SECRET")

    async with front(null_app()) as server:
        with monkeypatch.context() as broken:
            broken.setattr("aiohttp.web_protocol.RequestHandler.data_received", fails)
            assert await server.exchange(head(b"GET", b"/health")) == b""
        assert await server.status() == 200
    assert [record.getMessage() for record in caplog.records] == ["malformed HTTP: the parser failed with ValueError"]


@pytest.mark.parametrize("make_app", _APPS)
async def test_bad_chunks_are_an_answer_and_no_traceback(
    make_app: Callable[[], web.Application], caplog: pytest.LogCaptureFixture
) -> None:
    chunked = head(b"POST", b"/v1/chat/completions", b"Transfer-Encoding: chunked")
    async with front(make_app()) as server:
        for chunks in (b"SECRET\r\n", b"5;" + b"x" * 20_000 + b"\r\n\r\nSECRET", b"2\r\n{}SECRET\r\n", b"-1\r\n"):
            assert status_of(await server.exchange(chunked + chunks)) == 400
        assert await server.status() == 200
    assert len(caplog.records) <= 1
    assert "SECRET" not in caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("make_app", _APPS)
@pytest.mark.parametrize("sent", [3, 40, 100, 140], ids=lambda sent: f"after {sent} bytes")
async def test_clients_that_leave_in_the_middle_leave_nothing_in_the_log(
    make_app: Callable[[], web.Application], sent: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with front(make_app()) as server:
        for is_reset in (False, True):
            _, writer = await server.connect(chat_request(CHAT + b" " * 100)[:sent])
            await until(lambda: server.connections.num_open == 1)
            if is_reset:
                writer.transport.abort()
            writer.close()
            await until(lambda: server.connections.num_open == 0)
        assert await server.status() == 200
    assert not caplog.records


async def test_a_client_found_to_have_left_while_it_is_answered_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        raise ConnectionResetError("as writing to it says")

    app = web.Application(middlewares=[errors_middleware(logging.getLogger("abatch.test"))])
    app.router.add_get("/", answer)
    async with front(app) as server:
        assert await server.exchange(head(b"GET", b"/")) == b""
    assert not caplog.records


class _NoDescriptorsAtFirst(socket.socket):
    fails = 3

    def accept(self) -> tuple[socket.socket, object]:
        if self.fails:
            self.fails -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


async def test_no_descriptors_left_is_one_line_and_passes(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("abatch.engine.server.front.serving._FAILED_PAUSE_S", 0.01)
    with _NoDescriptorsAtFirst() as listener:
        listener.bind(("127.0.0.1", 0))
        async with serving(null_app(), listener, logging.getLogger("abatch.test"), shutdown_timeout_s=0.1):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(head(b"GET", b"/health", b"Connection: close"))
            assert status_of(await asyncio.wait_for(reader.read(), PATIENCE_S)) == 200
            writer.close()
    assert [record.getMessage() for record in caplog.records] == ["cannot accept connections: Too many open files"]
