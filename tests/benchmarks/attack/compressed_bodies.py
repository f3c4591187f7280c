"""Small bodies that would inflate to gigabytes, with the key, with a wrong one and without.

    python tests/benchmarks/attack/compressed_bodies.py [--bodies 10] [--inflated-mib 2048]

While they come, one client reads a stream and another asks for /health. Nothing may be inflated: the server's memory
must not grow by more than the bodies themselves, and nobody may wait. Takes some seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
import zlib
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from support.attacked import KEY, SERVERS, Victim, attacked, chat, faults_of  # found by the line above

_SLOWEST_S = 1.0
"""For a health check, and between two tokens. Inflated, such bodies took ten seconds."""
_MOST_GROWTH_BYTES = 128 << 20
_STREAM = b'{"messages": [{"role": "user", "content": "hi"}], "max_tokens": 200, "ignore_eos": true, "stream": true}'


def bomb(coding: bytes, inflated_mib: int) -> bytes:
    """Zeros, compressed."""
    packer = zlib.compressobj(9, wbits=31 if coding == b"gzip" else 15)
    packed = [packer.compress(bytes(1 << 20)) for _ in range(inflated_mib)]
    return b"".join((*packed, packer.flush()))


async def stream_gap(victim: Victim) -> float:
    """The longest silence in one stream, or 60 s if it does not end well."""
    reader, writer = await victim.connect(chat(_STREAM, b"Connection: close"))
    longest_s, last_s, received = 0.0, time.monotonic(), b""
    while chunk := await asyncio.wait_for(reader.read(1 << 16), 60.0):
        longest_s, last_s = max(longest_s, time.monotonic() - last_s), time.monotonic()
        received += chunk
    writer.close()
    return longest_s if b"data: [DONE]" in received else 60.0


async def attack(victim: Victim, key: str | None, body: bytes, coding: bytes, num_bodies: int) -> None:
    """So many bodies at once."""
    request = chat(body, b"Content-Encoding: " + coding, b"Connection: close")
    authorization = b"Authorization: Bearer " + KEY.encode() + b"\r\n"
    request = request.replace(authorization, f"Authorization: Bearer {key}\r\n".encode() if key else b"", 1)
    started_s = time.monotonic()
    ends: Counter[str] = Counter()
    stream = asyncio.create_task(stream_gap(victim))
    await asyncio.sleep(0.2)
    async with victim.health_watched(every_s=0.02) as health:
        for answer in await asyncio.gather(*(victim.answer(request, 60.0) for _ in range(num_bodies))):
            ends[answer[9:12].decode() or "reset"] += 1
        took_s = time.monotonic() - started_s
        gap_s = await stream
    grown_bytes = victim.grown_bytes()
    what = f"{num_bodies} {coding.decode()} bodies of {len(body)} bytes, {_named(key)}"
    victim.check(not {*ends} - {"415", "401", "reset"}, f"{what}: {dict(ends)}")
    victim.check(max(health) < _SLOWEST_S, f"{what}: /health took {max(health):.1f} s")
    victim.check(gap_s < _SLOWEST_S, f"{what}: a stream stood still for {gap_s:.1f} s")
    victim.check(grown_bytes < _MOST_GROWTH_BYTES, f"{what}: memory grew by {grown_bytes / 2**20:.0f} MiB")
    shown = ", ".join(f"{count} {end}" for end, count in sorted(ends.items()))
    print(
        f"{victim.name}: {what}: {shown} in {took_s:.2f} s; the slowest of {len(health)} health checks "
        f"{max(health):.2f} s, longest gap of a stream {gap_s:.2f} s, {victim.growth()}",
        flush=True,
    )


def _named(key: str | None) -> str:
    return "no key" if key is None else "the key" if key == KEY else "a wrong key"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bodies", type=int, default=10)
    parser.add_argument("--inflated-mib", type=int, default=2048)
    options = parser.parse_args()
    bombs = {coding: bomb(coding, options.inflated_mib) for coding in (b"gzip", b"deflate")}
    bombs[b"br"] = b"no brotli at all"
    victims = []
    for name in SERVERS:
        with attacked(name, "--itl", "20") if name == "null-server" else attacked(name) as victim:
            victims.append(victim)
            for key in (KEY, "wrong", None):
                for coding, body in bombs.items():
                    asyncio.run(attack(victim, key, body, coding, options.bodies))
            asyncio.run(victim.settle())
            victim.check_log(most_lines=4)
    print(faults_of(victims) or "held")
    return int(any(victim.faults for victim in victims))


if __name__ == "__main__":
    sys.exit(main())
