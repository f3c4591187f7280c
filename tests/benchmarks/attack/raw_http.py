"""Thousands of requests that are hardly HTTP any more, against both servers.

    python tests/benchmarks/attack/raw_http.py [--requests 4000] [--seed 1]

Starts from requests of every kind (pipelined, chunked, with Expect, Upgrade, two lengths, many and large headers, chunk
extensions, other methods) and changes some bytes, cuts, doubles and joins them. All carry the key. The servers must
live, answer others, show no 5xx and write no traceback and no key into their log. Takes half a minute a server.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from support.attacked import KEY, SERVERS, Victim, attacked, chat, faults_of  # found by the line above

_AT_ONCE = 32
_PATIENCE_S = 0.25
"""A request that is cut short gets no answer for as long as the server waits for its rest."""
_SLOWEST_HEALTH_S = 2.0
_AUTHORIZED = b"Host: x\r\nAuthorization: Bearer " + KEY.encode() + b"\r\n"
_BODY = b'{"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}'


def _request(line: bytes, headers: bytes = b"", body: bytes = b"") -> bytes:
    return line + b" HTTP/1.1\r\n" + _AUTHORIZED + headers + b"\r\n" + body


def _chunked(*chunks: bytes) -> bytes:
    return _request(b"POST /v1/chat/completions", b"Transfer-Encoding: chunked\r\n", b"".join(chunks))


_WHOLE_CHUNK = b"%x\r\n%s\r\n0\r\n\r\n" % (len(_BODY), _BODY)
SEEDS = [
    chat(_BODY),
    chat(_BODY, b"Connection: close"),
    chat(_BODY, b"Expect: 100-continue"),
    chat(_BODY, b"Content-Encoding: gzip"),
    chat(_BODY, b"Transfer-Encoding: chunked"),
    chat(_BODY, b"Content-Length: 3"),
    chat(_BODY) * 20,
    _chunked(_WHOLE_CHUNK),
    _chunked(b"%x;%s=%s\r\n%s\r\n0\r\n\r\n" % (len(_BODY), b"a" * 9000, b"b" * 9000, _BODY)),
    _chunked(_WHOLE_CHUNK[:-2], b"Trailer: " + b"x" * 9000 + b"\r\n\r\n"),
    _chunked(b"ffffffffffffffffff\r\n"),
    _chunked(b"1\r\n{\r\n" * 500),
    *(_request(method + b" /v1/models") for method in (b"GET", b"HEAD", b"OPTIONS", b"DELETE", b"PATCH", b"TRACE")),
    *(_request(b"GET " + path) for path in (b"/health", b"/metrics", b"/openapi.json", b"/v1/models/%00", b"*", b"//")),
    _request(b"CONNECT example.com:80"),
    _request(b"GET http://example.com/v1/models"),
    _request(b"PRI *"),
    _request(b"GET /v1/models", b"Upgrade: websocket\r\nConnection: Upgrade\r\n", b"tail" * 1000),
    _request(b"GET /v1/models", b"".join(b"X-%d: y\r\n" % number for number in range(200))),
    _request(b"GET /v1/models", b"X: " + b"y" * 20_000 + b"\r\n"),
    _request(b"GET /v1/models?" + b"q" * 20_000),
    _request(b"GET /v1/models", b"Content-Length: 10\r\n", b"unexpected"),
    _request(b"DELETE /v1/sessions/%ff%fe"),
    b"GET /health\r\n",
    b"GET /health HTTP/9.9\r\n\r\n",
    b"GET /health HTTP/1.0\r\n\r\n",
]


def mutated(draw: random.Random) -> bytes:
    """One of the seeds, changed in up to four places."""
    data = bytearray(draw.choice(SEEDS))
    for _ in range(draw.randint(0, 4)):
        place = draw.randrange(len(data) + 1)
        match draw.randrange(7):
            case 0:
                data[place : place + 1] = bytes([draw.randrange(256)])
            case 1:
                del data[place:]
            case 2:
                del data[place : place + draw.randint(1, 20)]
            case 3:
                data[place:place] = draw.choice([b"\r\n", b"\n", b"\x00", b"\r", b" ", b":", b"\xff\xfe", b"\t"])
            case 4:
                data[place:place] = draw.choice(SEEDS)[: draw.randint(1, 400)]
            case 5:
                data = bytearray(data.replace(b"\r\n", b"\n", draw.randint(1, 9)))
            case _:
                data[place:place] = data[place : place + draw.randint(1, 200)] * draw.randint(1, 20)
        if not data:
            break
    return bytes(data)


async def attack(victim: Victim, num_requests: int, seed: int) -> None:
    """So many of them, some at the same time, while others ask for /health."""
    draw = random.Random(seed)
    ends: Counter[str] = Counter()
    places = asyncio.Semaphore(_AT_ONCE)
    started_s = time.monotonic()

    async def one(data: bytes) -> None:
        async with places:
            answer = await victim.answer(data, _PATIENCE_S)
        status = answer[9:12].decode("latin-1") if answer.startswith(b"HTTP/1.") else ""
        ends[status or ("closed" if answer else "no answer yet")] += 1
        if status.startswith("5"):
            victim.check(holds=False, otherwise=f"{answer[:200]!r} to {data[:300]!r}")

    async with victim.health_watched() as health:
        for _ in range(num_requests // 500):
            await asyncio.gather(*(one(mutated(draw)) for _ in range(500)))
    await victim.settle()
    victim.check(max(health) < _SLOWEST_HEALTH_S, f"/health took {max(health):.1f} s")
    victim.check((await victim.answer(chat(_BODY, b"Connection: close"), 30.0)).startswith(b"HTTP/1.1 200"), "broken")
    victim.check_log(most_lines=12)
    shown = ", ".join(f"{count} {end}" for end, count in sorted(ends.items()))
    print(
        f"{victim.name}: {sum(ends.values())} requests: {shown}; {time.monotonic() - started_s:.0f} s, the slowest of "
        f"{len(health)} health checks {max(health):.2f} s, {victim.growth()}",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    victims = []
    for name in SERVERS:
        with attacked(name) as victim:
            victims.append(victim)
            asyncio.run(attack(victim, options.requests, options.seed))
    print(faults_of(victims) or "held")
    return int(any(victim.faults for victim in victims))


if __name__ == "__main__":
    sys.exit(main())
