"""The engine's server under clients that leave, sessions, too little memory and overload, in every mode.

    python tests/benchmarks/attack/leaving_clients.py [--requests 600]

For each way of batching and of parking a server of the tiny model with few KV blocks, and so many requests that most of
them wait. Half hang up somewhere before the end, a third belong to sessions, some want several answers, some share
their prompts. Every request that stays must end in one way: a whole answer, or an error with a status of its own. When
all have gone no request and no KV block may be held, the process may hold no more descriptors than before, and a set of
fixed prompts must get the answers that they got before. Then one server is asked for ten times and for 24 times what it
can do, and one has its engine killed with requests under way. Exits with 1 if something does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp

sys.path.insert(0, str(Path(__file__).parents[2]))
from support.servers import RunningServer, running_server  # found by the line above

_PROMPTS = [f"tell me about {thing} " * 6 for thing in ("rain", "brick", "salt", "wind", "glass", "moss")]
_MODES = [
    (batching, park) for batching in ("window", "continuous", "async") for park in ("keep", "offload", "drop", "auto")
]
_SMALL = ("--num-blocks", "64", "--max-num-seqs", "16", "--max-queue", "64", "--max-model-len", "512")
_TIMEOUT_S = 120.0


class Clients:
    """Sends requests and counts how each of them ended."""

    def __init__(self, server: RunningServer, seed: int = 0) -> None:
        self._url = f"{server.url}/v1/chat/completions"
        self._draw = random.Random(seed)
        self.ends: Counter[str] = Counter()
        self.sessions = [f"session-{number}" for number in range(24)]

    async def send(self, http: aiohttp.ClientSession, body: dict[str, Any], leaves_after_s: float | None) -> None:
        """One request, to its end or until it is left."""
        try:
            async with asyncio.timeout(leaves_after_s), http.post(self._url, json=body) as response:
                self.ends[_end(response.status, response.headers, await response.read())] += 1
        except TimeoutError:
            self.ends["left" if leaves_after_s is not None else "LOST: no end"] += 1
        except aiohttp.ClientError as error:
            self.ends[f"LOST: {type(error).__name__}"] += 1

    def body(self) -> dict[str, Any]:
        """A request of one of many kinds."""
        draw = self._draw
        text = (
            draw.choice(_PROMPTS) if draw.random() < 0.3 else " ".join(draw.choices("abcdefgh", k=draw.randint(1, 120)))
        )
        body: dict[str, Any] = {
            "messages": [{"role": "user", "content": text}],
            "max_tokens": draw.randint(1, 160),
            "stream": draw.random() < 0.8,
            "ignore_eos": draw.random() < 0.5,
        }
        match draw.randrange(6):
            case 0 | 1:
                body |= {"session_id": draw.choice(self.sessions), "expected_pause_s": draw.choice([0.0, 1.0, 60.0])}
                body["end_session"] = draw.random() < 0.2
            case 2:
                body["n"] = draw.randint(2, 4)
            case 3:
                body["stop"] = [draw.choice("abcdefgh"), "zz"]
        return body

    async def crowd(self, num_requests: int, *, share_leaving: float, at_once: int) -> None:
        """So many requests, never more than `at_once` under way."""
        places = asyncio.Semaphore(at_once)

        async def one() -> None:
            leaves = self._draw.expovariate(10) if self._draw.random() < share_leaving else None
            async with places:
                await self.send(http, self.body(), leaves)

        async with _session() as http, asyncio.TaskGroup() as tasks:
            for _ in range(num_requests):
                tasks.create_task(one())

    async def fixed_answers(self) -> list[str]:
        """Of the fixed prompts, one after the other, greedy."""
        answers = []
        async with _session() as http:
            for prompt in _PROMPTS:
                body = {"messages": [{"role": "user", "content": prompt}], "max_tokens": 24, "temperature": 0}
                async with http.post(self._url, json=body) as response:
                    answers.append((await response.json())["choices"][0]["message"]["content"])
        return answers

    async def end_sessions(self) -> None:
        """Those that are still there."""
        async with _session() as http:
            for session in self.sessions:
                async with http.delete(f"{self._url.partition('/v1/')[0]}/v1/sessions/{session}") as response:
                    await response.read()


def _session() -> aiohttp.ClientSession:
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout)


def _end(status: int, headers: Any, body: bytes) -> str:
    """How an answer ended; LOST if it did not."""
    if status == 429:
        return "429" if headers.get("Retry-After", "").isdigit() else "LOST: 429 without Retry-After"
    if status != 200:
        return str(status) if b'"error"' in body else f"LOST: {status} without an error"
    if headers["Content-Type"].startswith("text/event-stream"):
        if b'data: {"error"' in body:
            return "error event"
        whole = body.endswith(b"data: [DONE]\n\n") and b'"finish_reason":"' in body
        return "answered" if whole else "LOST: half a stream"
    return "answered" if all(choice["finish_reason"] for choice in json.loads(body)["choices"]) else "LOST: no reason"


def _settle(server: RunningServer) -> dict[str, float]:
    """What is still held when nothing is under way any more, or after 20 s."""
    names = (
        "abatch_requests_running",
        "abatch_requests_waiting",
        "abatch_kv_blocks_held",
        "abatch_host_kv_blocks_held",
    )
    give_up_s = time.monotonic() + 20
    while True:
        held = {name: value for name in names if (value := server.metric(name))}
        if not held or time.monotonic() > give_up_s:
            return held
        time.sleep(0.1)


@contextmanager
def _server(*arguments: str) -> Iterator[RunningServer]:
    with (
        tempfile.TemporaryDirectory() as folder,
        running_server(*arguments, log=Path(folder, "log")) as server,
    ):
        yield server


def mode(batching: str, park: str, num_requests: int) -> list[str]:
    """What does not hold in one mode."""
    host = ("--host-kv-memory", "1MiB") if park in ("offload", "auto") else ()
    with _server("--model", "tiny", "--batching", batching, "--park", park, *host, *_SMALL) as server:
        clients = Clients(server)
        before = asyncio.run(clients.fixed_answers())
        descriptors = server.num_descriptors()
        log_bytes = server.log.stat().st_size
        started_s = time.monotonic()
        asyncio.run(clients.crowd(num_requests, share_leaving=0.5, at_once=128))
        took_s = time.monotonic() - started_s
        asyncio.run(clients.end_sessions())
        held = _settle(server)
        preempted = server.metric("abatch_preemptions_total")
        faults = [end for end in clients.ends if end.startswith("LOST")]
        faults += [f"still held: {name} {value:g}" for name, value in held.items()]
        if asyncio.run(clients.fixed_answers()) != before:
            faults.append("other answers than before")
        time.sleep(0.5)
        if (more := server.num_descriptors() - descriptors) > 8:
            faults.append(f"{more} more descriptors")
        if b"Traceback" in server.log.read_bytes()[log_bytes:]:
            faults.append("a traceback in the log")
        ends = ", ".join(f"{count} {end}" for end, count in sorted(clients.ends.items()))
        print(
            f"| {batching}, park {park} | {ends} | {preempted:.0f} | {took_s:.1f} s | {'; '.join(faults) or 'held'} |",
            flush=True,
        )
        return faults


def overload(times: float) -> list[str]:
    """Goodput of a server asked for so many times what it can do, and what does not hold."""
    arguments = ("--device", "simulated:10ms", "--max-num-seqs", "8", "--max-queue", "16")
    with _server(*arguments) as server:
        body = {"messages": [{"role": "user", "content": "go"}], "max_tokens": 20, "ignore_eos": True, "stream": True}

        async def offered(rate: float, duration_s: float) -> float:
            clients = Clients(server)
            async with _session() as http, asyncio.TaskGroup() as tasks:
                for number in range(int(rate * duration_s)):
                    due_s = started_s + number / rate
                    await asyncio.sleep(max(0.0, due_s - time.monotonic()))
                    tasks.create_task(clients.send(http, body, None))
            ends.update(clients.ends)
            return clients.ends["answered"] / (time.monotonic() - started_s)

        ends: Counter[str] = Counter()
        started_s = time.monotonic()
        capacity = asyncio.run(offered(50.0, 4.0))  # 8 places of 20 steps of 10 ms are 40 requests per second at most
        started_s = time.monotonic()
        goodput = asyncio.run(offered(times * 40.0, 8.0))
        faults = [end for end in ends if end.startswith("LOST")]
        if goodput < 0.6 * capacity:
            faults.append("goodput gone")
        shown = ", ".join(f"{count} {end}" for end, count in sorted(ends.items()))
        print(
            f"| {times:g} times capacity | {shown} | |"
            f" goodput {goodput / capacity:.0%} | {'; '.join(faults) or 'held'} |",
            flush=True,
        )
        return faults


def killed() -> list[str]:
    """What does not hold when the engine's process is killed with requests under way."""
    with _server("--device", "simulated:20ms") as server:
        clients = Clients(server)

        async def run() -> None:
            crowd = asyncio.create_task(clients.crowd(60, share_leaving=0.0, at_once=60))
            while server.metric("abatch_requests_running") < 8:  # noqa: ASYNC110  # of another process
                await asyncio.sleep(0.05)
            os.kill(server.engine_pid(), signal.SIGKILL)
            await crowd
            async with _session() as http, http.get(f"{server.url}/health") as response:
                health.append(response.status)

        health: list[int] = []
        asyncio.run(run())
        faults = [end for end in clients.ends if end.startswith("LOST")]
        if health != [503]:
            faults.append(f"/health says {health}")
        shown = ", ".join(f"{count} {end}" for end, count in sorted(clients.ends.items()))
        print(f"| engine killed | {shown} | | | {'; '.join(faults) or 'held'} |", flush=True)
        return faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=600, help="in each mode")
    num_requests = parser.parse_args().requests
    print("| what | how requests ended | preempted | | |\n|---|---|---|---|---|", flush=True)
    faults = [fault for batching, park in _MODES for fault in mode(batching, park, num_requests)]
    faults += overload(10.0) + overload(24.0) + killed()
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
