"""Timers that are not rounded up to whole milliseconds, on a loop that does all else as any other."""

from __future__ import annotations

import asyncio
import select
import selectors
import socket
from typing import Any

import pytest
from abatch.engine.hosting.precise_loop import new_precise_loop

pytestmark = pytest.mark.skipif(not hasattr(selectors, "EpollSelector"), reason="there is no epoll here")


def test_a_wait_of_a_fraction_of_a_millisecond_is_not_rounded_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen in what the system is asked for, not in how long it takes on a busy machine."""
    waits: list[float] = []
    real = select.select

    def noted(*arguments: Any) -> Any:
        waits.append(arguments[3])
        return real(*arguments)

    monkeypatch.setattr(select, "select", noted)
    with asyncio.Runner(loop_factory=new_precise_loop) as runner:
        runner.run(asyncio.sleep(0.0004))
    assert any(0 < wait <= 0.0004 for wait in waits), waits


def test_what_arrives_ends_the_wait() -> None:
    async def exchange() -> tuple[bytes, float]:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        began_s = loop.time()
        loop.call_later(0.05, theirs.send, b"x")
        with ours, theirs:
            async with asyncio.timeout(30):
                return await loop.sock_recv(ours, 10), loop.time() - began_s

    with asyncio.Runner(loop_factory=new_precise_loop) as runner:
        received, took_s = runner.run(exchange())
    assert received == b"x"
    assert 0.05 <= took_s < 10


def test_other_threads_wake_it() -> None:
    with asyncio.Runner(loop_factory=new_precise_loop) as runner:
        assert runner.run(asyncio.wait_for(asyncio.to_thread(lambda: 7), 30)) == 7
