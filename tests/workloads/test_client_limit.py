"""Limits of the client are told from failures of the server."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest
from abatch.engine.hosting.descriptors import most_descriptors
from abatch.engine.protocol.conversation import ChatMessage
from abatch.workloads.targets.client_limit import CLIENT_LIMIT, client_limit
from abatch.workloads.targets.http_target import HttpTarget
from abatch.workloads.targets.target import Call, Reply
from support.fake_server import Behaviour, fake_server
from support.servers import null_server


@contextmanager
def _at_most(spare: int) -> Iterator[int]:
    """A soft limit that leaves this process few descriptors."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = set(map(int, os.listdir("/proc/self/fd")))
    free = [number for number in range(max(used) + spare + 2) if number not in used]
    limit = free[spare]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        yield limit
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def _take_all() -> list[int]:
    """All descriptors that are left."""
    taken = []
    with contextlib.suppress(OSError):
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    return taken


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.EMFILE, ""), "ulimit -n"),
        (OSError(errno.ENFILE, ""), "fs.file-max"),
        (OSError(errno.EADDRNOTAVAIL, ""), "no free port"),
        (OSError(errno.ENOBUFS, ""), "out of memory"),
        (MemoryError(), "out of memory"),
    ],
)
def test_each_limit_has_a_name_and_advice(error: BaseException, says: str) -> None:
    assert says in (client_limit(error) or "")


@pytest.mark.parametrize(
    "error",
    [ConnectionRefusedError(errno.ECONNREFUSED, ""), TimeoutError(), aiohttp.ServerDisconnectedError(), ValueError()],
)
def test_what_the_server_does_is_no_limit_of_the_client(error: BaseException) -> None:
    assert client_limit(error) is None


def test_a_name_that_cannot_be_looked_up_for_want_of_descriptors() -> None:
    error = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    assert client_limit(error) is None
    with _at_most(3):
        taken = _take_all()
        try:
            assert "too many open files" in (client_limit(error) or "")
        finally:
            for descriptor in taken:
                os.close(descriptor)


async def test_more_streams_than_descriptors(tmp_path: Path) -> None:
    with null_server("--ttft", "300", log=tmp_path / "log") as server:
        target = await HttpTarget.connect(server.url, model="m", api_key=None, headers={}, timeout_s=10)
        replies = [Reply() for _ in range(60)]
        call = Call([ChatMessage(role="user", content="hi")], 2, "s")
        with _at_most(40) as limit:
            await asyncio.gather(*(target.send(call, reply) for reply in replies))
        await target.close()
    failed = [reply for reply in replies if reply.error is not None]
    assert 0 < len(failed) < 60
    assert {reply.error for reply in failed} == {CLIENT_LIMIT}
    assert f"too many open files (limit {limit})" in (failed[0].error_message or "")


async def test_a_proxy_that_wants_credentials() -> None:
    async with fake_server(Behaviour(status=407)) as url:
        target = await HttpTarget.connect(url, model="m", api_key=None, headers={}, timeout_s=10)
        reply = Reply()
        await target.send(Call([ChatMessage(role="user", content="hi")], 2, "s"), reply)
        await target.close()
    assert reply.error == CLIENT_LIMIT
    assert "--header" in (reply.error_message or "")


def test_as_many_descriptors_as_may_be_and_then_as_before() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with _at_most(50) as limit:
        with most_descriptors():
            assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(before[1], 1 << 20)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == limit
