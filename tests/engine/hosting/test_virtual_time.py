"""An event loop whose clock jumps."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest
from abatch.engine.hosting.virtual_time import VirtualTimeLoop


def run(main: object) -> object:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)  # type: ignore[arg-type]


def test_hours_pass_at_once_and_in_order() -> None:
    async def main() -> list[tuple[str, float]]:
        loop = asyncio.get_running_loop()
        seen = []

        async def sleeper(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            seen.append((name, loop.time()))

        await asyncio.gather(sleeper("day", 86400.0), sleeper("second", 1.0), sleeper("hour", 3600.0))
        return seen

    started_s = time.monotonic()
    assert run(main()) == [("second", 1.0), ("hour", 3600.0), ("day", 86400.0)]
    assert time.monotonic() - started_s < 10


def test_timeouts_are_in_virtual_time() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(500):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert run(main()) == 500.0


def test_waiting_for_what_cannot_happen_is_an_error_not_a_hang() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="cannot happen"):
        run(main())


def test_signals_are_noticed() -> None:
    async def main() -> bool:
        told = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, told.set)
        os.kill(os.getpid(), signal.SIGUSR1)
        for _ in range(10_000):
            await asyncio.sleep(1.0)
            if told.is_set():
                return True
        return False

    assert run(main())
