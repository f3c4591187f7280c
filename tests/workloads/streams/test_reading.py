"""Bodies that end late, never, in the middle of nowhere, or compressed."""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Awaitable, Callable
from typing import cast

import pytest
from abatch.workloads.targets.http_target import HttpTarget
from abatch.workloads.targets.streams import answer
from abatch.workloads.targets.streams.pulse import Pulse
from abatch.workloads.targets.target import Reply
from abatch.workloads.targets.wire.chat import ChatApi
from support.answers import call_for
from support.raw_server import CONTENT, DONE, END, STREAM, raw_server

_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def ask(answer: Callable[[asyncio.StreamWriter], Awaitable[None]] | list[bytes]) -> Reply:
    reply = Reply()
    async with raw_server(answer) as server:
        target = await HttpTarget.connect(server.url, model="m", api_key=None, headers={}, timeout_s=20.0)
        await target.send(call_for(4), reply)
        await target.close()
    return reply


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@pytest.mark.parametrize(
    ("last", "error"),
    [
        (END, None),
        (END + DONE, None),
        (DONE, None),
        (b'data: {"error":{"message":"boom"}}\n\n', "server_error"),
        (b"event: error\ndata: boom\n\n", "server_error"),
    ],
)
async def test_a_body_without_end_is_left_soon(last: bytes, error: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer, "END_OF_STREAM_S", 0.1)
    monkeypatch.setattr(answer, "END_OF_BODY_S", 0.1)

    async def never_ending(writer: asyncio.StreamWriter) -> None:
        writer.write(_CHUNKED + chunk(CONTENT) + chunk(last))
        await writer.drain()
        await asyncio.sleep(60)

    async with asyncio.timeout(10):
        reply = await ask(never_ending)
    assert (reply.error, reply.text) == (error, ["x"])


@pytest.mark.parametrize(("last", "error"), [(END, None), (END + DONE, None), (DONE, None), (CONTENT, "disconnected")])
async def test_a_body_that_breaks_off_behind_the_answer_takes_nothing_away(last: bytes, error: str | None) -> None:
    assert (await ask([_CHUNKED + chunk(CONTENT) + chunk(last)])).error == error


@pytest.mark.parametrize("again", [CONTENT, CONTENT[:-5] + b',"finish_reason":"stop"}]}\n\n'])
async def test_a_finish_reason_that_ended_nothing_ends_nothing(again: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some servers give one with every chunk: nobody leaves them early, and what breaks off is no answer."""
    monkeypatch.setattr(answer, "END_OF_STREAM_S", 0.0)
    reply = Reply()
    reading = answer.Answer(ChatApi(), call_for(4), reply)
    reading.take(CONTENT + END, 1.0)
    assert (reading.ends_by_s, reading.is_complete) == (1.0, True)
    reading.take(again, 1.5)
    assert (reading.ends_by_s, reading.is_complete, reply.finished_s) == (None, False, 1.5)
    assert (await ask([_CHUNKED + chunk(CONTENT) + chunk(END) + chunk(again)])).error == "disconnected"


async def test_a_compressed_stream_is_timed_event_by_event() -> None:
    arrived: list[int] = []
    seen = asyncio.Event()

    class NoticedReply(Reply):
        def saw_content(self, now_s: float) -> None:
            super().saw_content(now_s)
            arrived.append(len(self.text))
            seen.set()

    async def slowly(writer: asyncio.StreamWriter) -> None:
        compressor = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
        writer.write(STREAM.replace(b"\r\n", b"\r\nContent-Encoding: GZip\r\n", 1))
        for event in (CONTENT, CONTENT, CONTENT + END + DONE):
            writer.write(compressor.compress(event) + compressor.flush(zlib.Z_SYNC_FLUSH))
            await writer.drain()
            await asyncio.wait_for(seen.wait(), 5)  # until it was read
            seen.clear()

    reply = NoticedReply()
    async with raw_server(slowly) as server:
        target = await HttpTarget.connect(server.url, model="m", api_key=None, headers={}, timeout_s=20.0)
        await target.send(call_for(4), reply)
        await target.close()
    assert (reply.error, arrived, reply.compression) == (None, [1, 2, 3], "gzip")
    assert [warning for warning in target.warnings if "compresses its answers (gzip)" in warning] == target.warnings


async def test_json_over_http_is_an_answer() -> None:
    body = b'{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}],"usage":{"completion_tokens":1}}'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    reply = await ask([head, body])
    assert (reply.error, reply.text, reply.output_tokens, reply.was_streamed) == (None, ["x"], 1, False)


async def test_a_burst_that_waited_for_the_client_is_not_the_server_s() -> None:
    """A process that was kept from its processor for a while finds everything at once."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"

    async def burst(writer: asyncio.StreamWriter, stall_s: float) -> None:
        writer.write(head + CONTENT * 3 + END + DONE)
        await writer.drain()
        time.sleep(stall_s)  # noqa: ASYNC251 # holds up the client, which runs in the same loop

    stalled = await ask(lambda writer: burst(writer, 0.1))
    assert (stalled.error, len(stalled.text), stalled.was_streamed) == (None, 3, True)


def test_a_pulse_tells_a_late_loop_from_one_that_is_on_time() -> None:
    loop = StoppedLoop()
    pulse = Pulse(cast(asyncio.AbstractEventLoop, loop))
    with pulse:
        loop.beat(late_s=0.001)
        assert not pulse.was_late(loop.now_s)
        loop.beat(late_s=0.1)
        assert pulse.was_late(loop.now_s)
        assert not pulse.was_late(loop.now_s + 0.02)
        loop.beat(late_s=0.0)
        assert loop.timer is not None
    assert loop.timer is None, "it beats only while somebody reads"


class StoppedLoop:
    """A clock that moves when it is told to, and the one timer that is set."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.timer: tuple[float, Callable[[float], None]] | None = None

    def time(self) -> float:
        return self.now_s

    def call_at(self, due_s: float, call: Callable[[float], None], _: float) -> StoppedLoop:
        self.timer = (due_s, call)
        return self

    def cancel(self) -> None:
        self.timer = None

    def beat(self, late_s: float) -> None:
        assert self.timer is not None
        due_s, call = self.timer
        self.now_s = due_s + late_s
        call(due_s)
