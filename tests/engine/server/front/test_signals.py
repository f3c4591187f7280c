"""What ends a server: a service manager, a person, a terminal that is closed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest
from abatch.engine.server.front.listening import Listening


@pytest.fixture(autouse=True)
def usual_signals() -> Iterator[None]:
    usual = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, usual)


async def _stops(number: signal.Signals) -> bool:
    stop = Listening(port=0).stop_event()
    os.kill(os.getpid(), number)
    try:
        await asyncio.wait_for(stop.wait(), 5.0 if signal.getsignal(number) is not signal.SIG_IGN else 0.1)
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_each_of_them_stops_a_server(number: signal.Signals) -> None:
    assert asyncio.run(_stops(number))


def test_under_nohup_a_closed_terminal_does_not() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert not asyncio.run(_stops(signal.SIGHUP))
