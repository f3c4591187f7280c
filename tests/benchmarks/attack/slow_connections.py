"""More connections than a server has descriptors, and clients that never finish what they began.

    python tests/benchmarks/attack/slow_connections.py [--connections 1100] [--most-files 512]

Each server of ours is started with few file descriptors. Then come, each time with more connections than that: headers
that never end, ordinary requests all at once, and, together, bodies that never end and clients that read nothing of
their answers. Meanwhile somebody asks for /health. Takes three minutes, most of which is waiting for time limits.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from support.attacked import SERVERS, Victim, attacked, chat, faults_of  # found by the line above

_HEADERS_S, _BODY_S, _STALLED_S = 20.0, 30.0, 60.0
"""Time limits of the servers."""
_SLACK_S = 15.0
_SLOWEST_HEALTH_S = 5.0
"""With a thousand connections before it in the queue, and a client that is as busy as the server."""
_LARGE_ANSWERS = {
    "serve": b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 600,
    "null-server": chat(b'{"messages": [{"role": "user"}], "max_tokens": 5000}') * 4,
}
"""Some ten megabytes each: more than the buffers of both ends hold."""


async def headers_without_end(victim: Victim, num_connections: int) -> None:
    """Connections that send a line, and then a byte now and then."""
    ends: Counter[str] = Counter()
    started_s = time.monotonic()

    async def one() -> None:
        try:
            reader, writer = await victim.connect(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ")
            async with asyncio.timeout(_HEADERS_S + _SLACK_S):
                closed = asyncio.create_task(reader.read())
                while not closed.done():
                    writer.write(b"x")
                    await asyncio.wait({closed}, timeout=3.0)
                ends["closed"] += not closed.exception()
                ends["reset"] += closed.exception() is not None
        except TimeoutError:
            ends["kept open"] += 1
        except OSError:
            ends["reset"] += 1
        else:
            writer.close()

    async with victim.health_watched() as health:
        await asyncio.gather(*(one() for _ in range(num_connections)))
    victim.check(not ends["kept open"], f"{ends['kept open']} connections that do not finish their headers are kept")
    victim.check(max(health) < _SLOWEST_HEALTH_S, f"/health took {max(health):.1f} s")
    await _told(victim, f"{num_connections} headers without end", ends, health, started_s)


async def ordinary_requests(victim: Victim, num_requests: int) -> None:
    """All at once, each on a connection of its own."""
    started_s = time.monotonic()
    ends: Counter[str] = Counter()
    async with victim.health_watched() as health:
        request = chat(
            b'{"messages": [{"role": "user", "content": "hi"}], "max_tokens": 4, "stream": true}', b"Connection: close"
        )
        for answer in await asyncio.gather(*(victim.answer(request, 60.0) for _ in range(num_requests))):
            whole = answer.endswith((b"data: [DONE]\n\n", b"\r\n0\r\n\r\n", b"}")) or answer[9:12] == b"408"
            ends[answer[9:12].decode() if whole else "reset"] += 1
    # Those of clients that took a quarter of a second from connecting to sending, while others were waiting.
    victim.check(ends["reset"] <= 0.1 * num_requests, f"{ends['reset']} ordinary requests without an answer")
    victim.check(ends["200"] > 0.2 * num_requests, f"only {ends['200']} ordinary requests were answered")
    victim.check(max(health) < _SLOWEST_HEALTH_S, f"/health took {max(health):.1f} s")
    await _told(victim, f"{num_requests} ordinary requests at once", ends, health, started_s)


async def unfinished(victim: Victim, num_each: int) -> None:
    """Bodies that stop, and clients that stop reading, at the same time."""
    started_s = time.monotonic()
    ends: Counter[str] = Counter()

    async def body() -> None:
        answer = await victim.answer(chat(b"x" * 1000)[:-500], _BODY_S + _SLACK_S)
        ends["body: " + (answer[9:12].decode() or "kept open")] += 1

    async def reading_nothing() -> None:
        small = socket.socket()
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        small.setblocking(False)
        loop = asyncio.get_running_loop()
        with small:
            try:
                await loop.sock_connect(small, victim.address)
                async with asyncio.timeout(_STALLED_S + _SLACK_S):
                    while True:  # the server stops reading long before it is closed
                        await loop.sock_sendall(small, _LARGE_ANSWERS[victim.name])
                        await asyncio.sleep(1.0)
            except TimeoutError:
                ends["reading nothing: kept open"] += 1
            except OSError:
                ends["reading nothing: closed"] += 1

    async with victim.health_watched() as health:
        await asyncio.gather(*(body() for _ in range(num_each)), *(reading_nothing() for _ in range(num_each // 4)))
    kept = sum(count for end, count in ends.items() if "kept open" in end)
    victim.check(not kept, f"{kept} connections with unfinished bodies or answers are kept")
    victim.check(max(health) < _SLOWEST_HEALTH_S, f"/health took {max(health):.1f} s")
    await _told(
        victim, f"{num_each} bodies without end, {num_each // 4} clients that do not read", ends, health, started_s
    )


async def _told(victim: Victim, what: str, ends: Counter[str], health: list[float], started_s: float) -> None:
    await victim.settle()
    took_s = time.monotonic() - started_s
    shown = ", ".join(f"{count} {end}" for end, count in sorted(ends.items()) if count)
    print(
        f"{victim.name}: {what}: {shown}; {len(health)} health checks, the slowest {max(health):.2f} s; "
        f"{took_s:.0f} s, {victim.growth()}",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=1100)
    parser.add_argument("--most-files", type=int, default=512, help="descriptors that the servers may have")
    parser.add_argument("--server", choices=SERVERS, help="only this one")
    options = parser.parse_args()
    victims = []
    for name in [options.server] if options.server else SERVERS:
        arguments = ("--word", "x" * 500) if name == "null-server" else ()
        with attacked(name, *arguments, most_files=options.most_files) as victim:
            victims.append(victim)
            asyncio.run(headers_without_end(victim, options.connections))
            asyncio.run(ordinary_requests(victim, options.connections))
            asyncio.run(unfinished(victim, 200))
            victim.check_log(most_lines=40)
    print(faults_of(victims) or "held")
    return int(any(victim.faults for victim in victims))


if __name__ == "__main__":
    sys.exit(main())
