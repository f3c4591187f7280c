"""Connections that are closed early, redirects, and addresses: what is done again is done once, and takes its time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest
from abatch.engine.protocol.conversation import ChatMessage
from abatch.workloads.targets.http_connection import Connection
from abatch.workloads.targets.http_target import HttpTarget
from abatch.workloads.targets.target import Call, Reply
from abatch.workloads.targets.unreachable import TargetError
from support.keeping_server import ANSWER, CLOSES, RESETS, keeping_server

_CALL = Call([ChatMessage(role="user", content="hi")], 1, "s")


async def replies(url: str, count: int = 1) -> tuple[list[Reply], HttpTarget]:
    """Of as many calls, one after the other."""
    target = await Connection(url=url, timeout_s=5).open("m")
    found = [Reply() for _ in range(count)]
    for reply in found:
        await target.send(_CALL, reply)
    await target.close()
    return found, target


def _second(said: bytes) -> Callable[[int, bytes], bytes]:
    """An answer to the first request of a connection, and this to all others."""
    return lambda num_before, _: said if num_before else ANSWER


@pytest.mark.parametrize("said", [CLOSES, RESETS])
async def test_a_request_that_crosses_the_end_of_its_connection_is_sent_again(said: bytes) -> None:
    async with keeping_server(_second(said)) as server:
        (first, second), _ = await replies(f"http://127.0.0.1:{server.port}", 2)
    assert [first.error, second.error] == [None, None]
    assert [first.retries, second.retries] == [0, 1]
    assert [connection for connection, _ in server.requests] == [1, 1, 2]
    assert server.bodies[1] == server.bodies[2]
    assert second.connect_s > 0, "its new connection is part of its latency, and told apart"


async def test_other_idle_connections_are_not_tried_first() -> None:
    """They may be as dead as the one that was."""
    async with keeping_server(_second(CLOSES)) as server:
        target = await Connection(url=f"http://127.0.0.1:{server.port}", timeout_s=5).open("m")
        await asyncio.gather(*(target.send(_CALL, Reply()) for _ in range(3)))
        reply = Reply()
        await target.send(_CALL, reply)
        await target.close()
    assert (reply.error, reply.retries) == (None, 1)
    assert server.requests[-1][0] == 4


@pytest.mark.parametrize(
    ("answer", "num_requests"),
    [
        (lambda _, __: CLOSES, 1),  # a connection of its own: the server has failed
        (_second(b"HTTP/1.1 200" + CLOSES), 2),  # it began to answer
        (_second(b"H" + RESETS), 2),
        (_second(ANSWER[:90] + CLOSES), 2),
    ],
)
async def test_what_the_server_has_begun_or_refused_is_not_sent_again(
    answer: Callable[[int, bytes], bytes], num_requests: int
) -> None:
    def once(num_before: int, head: bytes) -> bytes:
        return answer(num_before, head)

    async with keeping_server(once) as server:
        target = await Connection(url=f"http://127.0.0.1:{server.port}", timeout_s=0.5).open("m")
        for _ in range(num_requests):
            reply = Reply()
            await target.send(_CALL, reply)
        await target.close()
    assert reply.error == "disconnected"
    assert (reply.retries, len(server.requests)) == (0, num_requests)


async def test_it_is_sent_again_only_once() -> None:
    seen: list[int] = []

    def answer(num_before: int, _: bytes) -> bytes:
        seen.append(num_before)
        return ANSWER if len(seen) == 1 else CLOSES

    async with keeping_server(answer) as server:
        (_, second), _ = await replies(f"http://127.0.0.1:{server.port}", 2)
    assert (second.error, second.retries, len(seen)) == ("disconnected", 1, 3)


def _away(status: int, place: str) -> Callable[[int, bytes], bytes]:
    """A redirect of everything that does not ask for /there."""
    head = b"HTTP/1.1 %d Away\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (status, place.encode())
    return lambda _, asked: ANSWER if b" /there" in asked else head


@pytest.mark.parametrize("status", [307, 308])
async def test_a_redirect_on_the_same_server_is_followed_and_told_once(status: int) -> None:
    async with keeping_server(_away(status, "/there?x=1")) as server:
        found, target = await replies(f"http://user:swordfish@127.0.0.1:{server.port}", 3)
    assert [reply.error for reply in found] == [None] * 3
    assert len({connection for connection, _ in server.requests}) == 1
    assert server.bodies[0] == server.bodies[1] != b""
    assert server.requests[1][1].startswith(b"POST /there?x=1 ")
    assert all(b"Authorization: Basic" in head for _, head in server.requests)
    assert len(target.warnings) == 1
    assert f"redirects to http://127.0.0.1:{server.port}/there," in target.warnings[0]


@pytest.mark.parametrize(
    ("status", "place"),
    [
        (301, "/there"),
        (302, "/there"),
        (303, "/there"),
        (307, "http://127.0.0.2:1/there"),
        (307, "http://127.0.0.1:1/there"),
        (308, "https://127.0.0.1/there"),
        (307, "//127.0.0.2/there"),
        (307, "ftp://127.0.0.1/there"),
    ],
)
async def test_other_redirects_are_errors(status: int, place: str) -> None:
    async with keeping_server(_away(status, place)) as server:
        (reply,), _ = await replies(f"http://127.0.0.1:{server.port}")
    assert reply.error == "redirect"
    assert str(status) in (reply.error_message or "")
    assert len(server.requests) == 1


async def test_redirects_in_a_circle_end() -> None:
    async with keeping_server(_away(307, "/v1/chat/completions")) as server:
        (reply,), _ = await replies(f"http://127.0.0.1:{server.port}")
    assert reply.error == "redirect"
    assert len(server.requests) == 4


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as one:
            one.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("listens", "host"), [("127.0.0.1", "localhost"), ("::1", "localhost"), ("::1", "[::1]"), ("::1", "LocalHost")]
)
async def test_this_machine_by_either_version_of_ip(listens: str, host: str) -> None:
    if listens == "::1" and not _has_ipv6():
        pytest.skip("no IPv6 here")
    async with keeping_server(host=listens) as server:
        (reply,), _ = await replies(f"http://{host}:{server.port}")
    assert reply.error is None


async def test_nobody_listens_at_either() -> None:
    async with keeping_server() as server:
        port = server.port
    with pytest.raises(TargetError, match=r"cannot reach http://localhost:\d+: Connection refused\Z"):
        await Connection(url=f"http://localhost:{port}", timeout_s=5).open(None)
