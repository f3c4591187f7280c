"""Requests that cost a server as much as their size allows, beside a stream that must not notice.

    python tests/benchmarks/attack/blocking_requests.py [--max-body 4194304] [--tries 5]

A server of a simulated device gives one stream a token every 5 ms. Each kind of costly request is then sent several
times, and the longest pause between two tokens of the stream is taken for each time. The shortest of them counts, as
other programs on the machine make pauses of their own: a request that blocks the server does so every time. Then the
engine's process is stopped and goes on again, which /health must notice. Exits with 1 if a kind of request makes a
pause of more than 50 ms every time, gets a 5xx, or if the server's log has a traceback.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path

import aiohttp

sys.path.insert(0, str(Path(__file__).parents[2]))
from support.costly_bodies import CHAT, costly_bodies  # found by the line above
from support.process_memory import peak_mib
from support.servers import RunningServer, running_server

_MOST_PAUSE_S = 0.05
_PROBE = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 100_000, "ignore_eos": True, "stream": True}
_NOTICED_S = 15.0


class Stream:
    """A stream that goes on and on, and the longest pause in it."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = url
        self._last_s = 0.0
        self._longest_s = 0.0
        self.num_chunks = 0

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            async with self._http.post(f"{self._url}{CHAT}", json=_PROBE) as response:
                response.raise_for_status()
                self._last_s = time.perf_counter()
                async for _ in response.content.iter_any():
                    now_s = time.perf_counter()
                    self._longest_s = max(self._longest_s, now_s - self._last_s)
                    self._last_s = now_s
                    self.num_chunks += 1

    async def longest_pause_s(self, meanwhile: Awaitable[object]) -> float:
        """While something else happens, and a tenth of a second before and after that."""
        await asyncio.sleep(0.1)
        self._longest_s = 0.0
        await meanwhile
        await asyncio.sleep(0.1)
        return max(self._longest_s, time.perf_counter() - self._last_s)


async def attack(server: RunningServer, max_body_bytes: int, num_tries: int) -> list[str]:
    """What did not hold."""
    faults = []
    timeout = aiohttp.ClientTimeout(total=600)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        stream = Stream(http, server.url)
        streaming = asyncio.create_task(stream.run())
        while stream.num_chunks < 100:  # noqa: ASYNC110 - until the stream flows
            await asyncio.sleep(0.05)
        idle_s = [await stream.longest_pause_s(asyncio.sleep(0.3)) for _ in range(num_tries)]
        print(f"{'':36} pauses of the stream in ms: shortest, longest of {num_tries} tries")
        print(f"{'nothing':36} {min(idle_s) * 1e3:6.1f} {max(idle_s) * 1e3:6.1f}")
        for name, path, body in costly_bodies(max_body_bytes):
            statuses: set[int] = set()

            async def send(path: str = path, body: bytes = body, statuses: set[int] = statuses) -> None:
                async with http.post(f"{server.url}{path}", data=body) as response:
                    await response.read()
                    statuses.add(response.status)

            pauses_s = [await stream.longest_pause_s(send()) for _ in range(num_tries)]
            size = f"{len(body) / 1024:6.0f} KiB"
            print(f"{name:36} {min(pauses_s) * 1e3:6.1f} {max(pauses_s) * 1e3:6.1f}  {size}, status {sorted(statuses)}")
            if min(pauses_s) > _MOST_PAUSE_S:
                faults.append(f"{name}: {min(pauses_s) * 1e3:.0f} ms")
            if max(statuses) >= 500:
                faults.append(f"{name}: {sorted(statuses)}")
        streaming.cancel()
        faults += await _stop_and_go_on(http, server)
    return faults


async def _stop_and_go_on(http: aiohttp.ClientSession, server: RunningServer) -> list[str]:
    """Whether /health notices that the engine is stopped, and that it goes on."""
    faults = []
    for number, status in ((signal.SIGSTOP, 503), (signal.SIGCONT, 200)):
        os.kill(server.engine_pid(), number)
        start_s = time.monotonic()
        said = ""
        while time.monotonic() < start_s + _NOTICED_S:
            async with http.get(f"{server.url}/health") as response:
                said = await response.text()
                if response.status == status:
                    break
            await asyncio.sleep(0.05)
        else:
            faults.append(f"/health after {number.name}: {said}")
        print(f"/health after {number.name}: {said} after {time.monotonic() - start_s:.1f} s")
    return faults


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--max-body", type=int, default=4 << 20)
    parser.add_argument("--tries", type=int, default=5)
    arguments = parser.parse_args()
    options = ("--device", "simulated:5ms", "--max-body", str(arguments.max_body))
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with running_server(*options, log=log) as server:
            faults = asyncio.run(attack(server, arguments.max_body, arguments.tries))
            most_mib = peak_mib(server.process.pid)
        text = log.read_text()
    print(f"memory of the server at its peak: {most_mib:.0f} MB; its log: {len(text)} bytes")
    if "Traceback" in text:
        faults.append("a traceback in the log")
    for fault in faults:
        print(f"DID NOT HOLD: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
