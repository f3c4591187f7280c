"""What a target may send: nothing it does takes more memory or time than a limit, and every failure has a class."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from abatch.engine.protocol.conversation import ChatMessage
from abatch.workloads.http import limits
from abatch.workloads.targets.http_target import HttpTarget
from abatch.workloads.targets.target import Call, Reply
from abatch.workloads.targets.unreachable import TargetError
from abatch.workloads.watching.metrics_page import MetricsPage
from support.raw_server import CONTENT, DONE, END, STREAM, Answer, RawServer, endless, raw_server
from yarl import URL

_IN_BUFFERS = 12 << 20
"""Bytes: what two sockets of this machine, and the buffers of both programs, hold at most."""

_READ_AHEAD = 1 << 19
"""Bytes that come in one read at most."""


async def ask(server: RawServer, *, max_tokens: int = 4, timeout_s: float = 20.0) -> Reply:
    target = await HttpTarget.connect(server.url, model="m", api_key="k", headers={}, timeout_s=timeout_s)
    reply = Reply()
    try:
        await target.send(Call([ChatMessage(role="user", content="hi there")], max_tokens, "s"), reply)
    finally:
        await target.close()
    return reply


async def answered(*pieces: bytes, **settings: Any) -> Reply:
    async with raw_server(pieces) as server:
        return await ask(server, **settings)


_TEXT = b'data: {"choices":[{"delta":{"content":"%s"}}]}\n\n'


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (endless(STREAM, piece=CONTENT * 200), "too_much", "chunks, where max_tokens is 4"),
        (endless(STREAM, piece=_TEXT % (b"w" * 9000)), "too_much", "characters of text"),
        (endless(STREAM, piece=b'data: {"choices":[{"delta":{"role":"assistant"}}]}\n\n' * 200), "too_much", "events"),
        (endless(STREAM, piece=b'data: {"x":"%s"}\n\n' % (b"w" * 9000)), "too_much", "bytes"),
        (endless(STREAM, piece=b"data: {}\n\n" * 200), "too_much", "events"),
        (endless(STREAM, piece=b": ping\n\n" * 2000), "too_much", "bytes"),
        (endless(STREAM, b"data: ", piece=b"w" * 65536), "too_much", "bytes"),
        (endless(STREAM, CONTENT, b"data: ", piece=b"w" * 65536), "too_much", "bytes"),
        (endless(STREAM, CONTENT, END, piece=CONTENT * 200), "too_much", "chunks"),
        (endless(STREAM, b"<html>", piece=b"<p>no</p>\n" * 6000), "too_much", "bytes"),
        (endless(STREAM, b'{"id":"', piece=b"w" * 65536), "too_much", "bytes"),
        (endless(STREAM, CONTENT, END + DONE, piece=b"w" * 65536), None, ""),
        (endless(STREAM, CONTENT, END + DONE, piece=b"\n" * 65536), None, ""),
        (endless(b"HTTP/1.1 500 No\r\n\r\n", piece=b"w" * 65536), "http_500", "www"),
        (endless(b"HTTP/1.1 200 OK\r\nX: ", piece=b"w" * 65536), "bad_response", "8190"),
        (endless(b"HTTP/1.1 200 OK\r\n", piece=b"X: y\r\n" * 1000), "bad_response", "Too many headers"),
        (endless(piece=b"w" * 65536), "bad_response", "not an HTTP response"),
        (endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", piece=b"f" * 9000), "bad_response", ""),
        (endless(piece=b"HTTP/1.1 100 Continue\r\n\r\n" * 500), "too_much", "nobody asked for"),
        (endless(piece=b"HTTP/1.1 102 Processing\r\n\r\n" * 500), "too_much", "nobody asked for"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_nothing_is_read_without_end(answer: Answer, error: str | None, says: str) -> None:
    async with raw_server(answer) as server:
        reply = await ask(server)
    assert reply.error == error
    assert says in (reply.error_message or "")
    assert server.taken_bytes < limits.ANSWER_BYTES + _IN_BUFFERS
    assert sum(map(len, reply.text)) <= limits.TEXT_CHARS + _READ_AHEAD


async def test_an_answer_may_be_as_long_as_its_tokens() -> None:
    """Twice as many chunks as tokens, each with a kilobyte around it, and one event of half a megabyte."""
    padded = CONTENT[:-3] + b',"x":"' + b"w" * 1000 + b'"}\n\n'
    reply = await answered(STREAM, padded * 8000, END, DONE, max_tokens=4000)
    assert reply.error is None
    assert len(reply.text) == 8000
    reply = await answered(STREAM, _TEXT % (b"w" * 500_000), END, DONE, max_tokens=4000)
    assert reply.error is None
    assert sum(map(len, reply.text)) == 500_000


async def test_what_is_kept_of_an_answer_is_short() -> None:
    reason = b'data: {"choices":[{"delta":{},"finish_reason":"%s"}]}\n\n' % (b"r" * 500_000)
    reply = await answered(STREAM, CONTENT, reason, DONE)
    assert (reply.error, reply.finish_reason) == (None, "r" * limits.FINISH_REASON_CHARS)
    reply = await answered(STREAM, b'data: {"error":{"message":"%s","type":"x"}}\n\n' % (b"m" * 500_000))
    assert (reply.error, reply.error_message) == ("server_error", "m" * limits.MESSAGE_CHARS)


@pytest.mark.parametrize("status", [200, 503])
async def test_a_bomb_is_not_inflated_beyond_the_limits(status: int) -> None:
    head = b"HTTP/1.1 %d OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n" % status
    bomb = gzip.compress(b"data: {}\n\n" * (1 << 20))
    reply = await answered(head, bomb)
    assert reply.error == ("too_much" if status == 200 else "http_503")
    assert "w" not in (reply.error_message or "")[limits.MESSAGE_CHARS :]


@pytest.mark.parametrize("encoding", ["br, gzip", "BR, GZIP", "x\xff"])
async def test_what_nothing_inflates_is_refused_unread(encoding: str) -> None:
    head = b"HTTP/1.1 %d OK\r\nContent-Encoding: " + encoding.encode("latin-1") + b"\r\nConnection: close\r\n\r\n"
    for status, error in ((200, "bad_response"), (503, "http_503")):
        reply = await answered(head % status, b"w" * 1000)
        assert reply.error == error
        assert "the body is compressed" in (reply.error_message or "")
        json.dumps(reply.error_message, ensure_ascii=False).encode()  # as the log does: headers may hold any bytes


@pytest.mark.parametrize(
    ("pieces", "error"),
    [
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], "http_204"),
        ([b"HTTP/1.1 206 Partial Content\r\nContent-Length: 2\r\n\r\nhi"], "http_206"),
        ([b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhi"], "http_101"),
        ([b"HTTP/1.1 999 Odd\r\nContent-Length: 2\r\n\r\nhi"], "http_999"),
        ([b""], "disconnected"),
        ([b"HTTP/1.1 200 OK\r\nX: "], "disconnected"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"], "disconnected"),
        ([STREAM, b"<!doctype html>\n<p>log in</p>\n"], "bad_response"),
        ([STREAM, b'{"choices":[{"message":{"content":"hello"}}\n'], "bad_response"),
        ([STREAM, b'data: {"choices":' + b"[" * 50_000 + b"\n\n"], "bad_response"),
        ([STREAM, b'data: {"x":' + b"[" * 50_000 + b"\n\n"], "bad_response"),
        ([STREAM, b'data: {"choices":[{"delta":{"content":"\\ud800....."}}]}\n\n'], "disconnected"),
    ],
)
async def test_what_is_no_answer_has_a_class(pieces: list[bytes], error: str) -> None:
    assert (await answered(*pieces)).error == error


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
async def test_events_in_pieces_of_any_size(newline: bytes, size: int) -> None:
    text = (
        b"\xef\xbb\xbf"
        + CONTENT
        + b": comment\n\nevent: x\nid: 7\n"
        + CONTENT.replace(b"data: ", b"data:")
        + END
        + DONE
    )
    stream = text.replace(b"\n", newline)
    pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
    chunks = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces]
    reply = await answered(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *chunks, b"0\r\n\r\n")
    assert (reply.error, reply.text, reply.finish_reason) == (None, ["x", "x"], "length")


async def test_a_list_of_models_has_an_end() -> None:
    json_head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
    whole = b'{"object":"list","data":[{"id":"%s"}]}'
    for pieces, says in (
        (endless(json_head, b'{"data":[', piece=b'{"id":"m"},' * 5000), "more than 4,194,304 bytes"),
        ([json_head, whole % (b"m" * 100_000)], "whose name has 100,000"),
        (
            [json_head.replace(b"Content-Type", b"Content-Encoding: gzip\r\nX"), gzip.compress(b"[" * (5 << 20))],
            "more than 4,194,304 bytes",
        ),
        ([json_head, b"[" * 100_000], "no OpenAI-compatible list"),
        (endless(b"HTTP/1.1 500 No\r\n\r\n", piece=b"w" * 65536), "returned 500"),
        ([b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\n\r\n"], "redirects to http://elsewhere/"),
    ):
        async with raw_server(pieces) as server:
            with pytest.raises(TargetError, match=says):
                await HttpTarget.connect(server.url, model=None, api_key=None, headers={}, timeout_s=5)
            assert server.taken_bytes < limits.MODEL_LIST_BYTES + _IN_BUFFERS


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("http://127.0.0.1:1/v1/x?key=s3cret", "http://127.0.0.1:1/v1/x (HTTP"),
        ("http://user:s3cret@other/", "http://other/ (HTTP"),
        ("//other/", "http://other/ (HTTP"),
        ("http://[broken/?s3cret", "http://[broken/ (HTTP"),
        ("http://x/\x1b[31m\xff", "http://x/"),
        ("http://" + "w" * 5000, "http://www"),
    ],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_elsewhere_is_told_and_not_followed(location: str, shown: str, status: int) -> None:
    head = b"HTTP/1.1 %d Moved\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (status, location.encode("latin-1"))
    async with raw_server([head]) as server:
        reply = await ask(server)
        assert len(server.heads) == 1
    assert reply.error == "redirect"
    message = reply.error_message or ""
    assert shown in message
    assert "s3cret" not in message
    assert message.isprintable()
    assert len(message) <= limits.MESSAGE_CHARS


async def test_nobody_else_is_asked_with_the_user_s_key() -> None:
    async with raw_server([b"HTTP/1.1 200 OK\r\n\r\n"] * 3) as other:
        head = b"HTTP/1.1 307 Away\r\nLocation: %s/x\r\nContent-Length: 0\r\n\r\n" % other.url.encode()
        async with raw_server([head], [head], [head], [head]) as server:
            with pytest.raises(TargetError, match="redirects"):
                await HttpTarget.connect(server.url, model=None, api_key="k", headers={"X": "y"}, timeout_s=5)
            assert (await ask(server)).error == "redirect"
            target = await HttpTarget.connect(server.url, model="m", api_key="k", headers={}, timeout_s=5)
            assert await target.engine_totals() is None
            await target.close()
            async with MetricsPage(None, URL(server.url) / "metrics", {"Authorization": "Bearer k"}) as page:
                assert await page.read() is None
            assert len(server.heads) == 4
    assert other.heads == []


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nor are passwords in a .netrc: docs/metrics.md says so."""
    async with (
        raw_server([b"HTTP/1.1 502 No\r\n\r\n"] * 2) as proxy,
        raw_server([STREAM, CONTENT, END, DONE]) as server,
    ):
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        (tmp_path / ".netrc").write_text("machine 127.0.0.1 login u password s3cret\n")
        monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
        target = await HttpTarget.connect(server.url, model="m", api_key=None, headers={}, timeout_s=5)
        reply = Reply()
        await target.send(Call([ChatMessage(role="user", content="hi")], 4, "s"), reply)
        await target.close()
    assert reply.error is None
    assert proxy.heads == []
    assert b"uthorization" not in server.heads[0]


async def test_a_body_that_breaks_off_into_nonsense_ends_at_once() -> None:
    """The library closes the connection then, and would leave us to wait for the timeout."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(CONTENT), CONTENT))
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(b"f" * 4096)
        await writer.drain()
        await asyncio.sleep(20)

    async with raw_server(answer) as server:
        reply = await ask(server)
    assert reply.error == "bad_response"
    assert "the body is not HTTP" in (reply.error_message or "")
    assert reply.text == ["x"]


async def test_an_answer_that_nobody_asked_for_answers_nothing() -> None:
    """A server could send the next answer ahead of its request, for a first token in no time; or fill the memory."""
    whole = CONTENT + END + DONE
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(whole), whole)
    sent = asyncio.Event()

    async def twice(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await asyncio.sleep(0.05)
        writer.write(answer)
        await writer.drain()
        sent.set()
        await asyncio.sleep(5)

    async with raw_server(twice, [answer]) as server:
        target = await HttpTarget.connect(server.url, model="m", api_key=None, headers={}, timeout_s=5)
        replies = [Reply(), Reply()]
        for reply in replies:
            await target.send(Call([ChatMessage(role="user", content="hi")], 4, "s"), reply)
            await asyncio.wait_for(sent.wait(), 5)
            await asyncio.sleep(0.05)
        await target.close()
    assert [reply.error for reply in replies] == [None, None]
    assert len(server.heads) == 2, "the second one on a connection of its own"


def test_the_documents_have_the_limits_of_the_code() -> None:
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    section = page.partition("## What a server may send\n")[2].partition("\n## ")[0]
    rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in section.splitlines() if "|" in line]
    assert rows[2:] == [*limits.ROWS]
