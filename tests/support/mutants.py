"""Run folders that were damaged or forged: every file of one changed in some way, from a seed."""

from __future__ import annotations

import base64
import json
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

_EXTREMES: list[Any] = [
    *(0, -1, 1, 1e300, -1e300, 1e15, 2**53, 2**63, 2**64, 10**30, 10**400, 1e-300, 0.5, -0.0, 7.5e8),
    *(None, True, "", "x", "x" * 5000, "\ud800".encode("utf-8", "surrogatepass").decode("utf-8", "replace"), "all"),
    *([], {}, [None], [1e300] * 50, {"a": {"a": {}}}, "NaN", "::error::x", "\x1b[31m", "<script>", "a\nb", "\0"),
    *(99, 100, 100.0, 101, 3600.0, "ttft", "ttft.p99 <= 1ms", "baseline", "/dev/zero", "\N{RIGHT-TO-LEFT OVERRIDE}"),
]
_Bytes = Callable[[random.Random, bytes], bytes]


def _flip(draw: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.choice([1, 1, 3, 30])):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


def _cut(draw: random.Random, content: bytes) -> bytes:
    return content[: draw.randrange(len(content))]


def _zeros(draw: random.Random, content: bytes) -> bytes:
    start = draw.randrange(len(content))
    end = min(len(content), start + draw.choice([1, 100, 100_000]))
    return content[:start] + bytes(end - start) + content[end:]


def _lines(draw: random.Random, content: bytes) -> bytes:
    """Lines doubled, lost, out of order or glued together."""
    lines = content.splitlines(keepends=True)
    where = draw.randrange(len(lines))
    match draw.randrange(5):
        case 0:
            return b"".join([*lines[:where], *([lines[where]] * draw.choice([2, 50])), *lines[where + 1 :]])
        case 1:
            return b"".join(lines[:where] + lines[where + 1 :])
        case 2:
            draw.shuffle(lines)
            return b"".join(lines)
        case 3:
            return b"".join([*lines[:where], lines[where].rstrip(b"\n"), *lines[where + 1 :]])
        case _:
            return content + draw.choice([b"\n\n", b"{}\n", b"[]", b"null\n", b"\xff\xfe", b"[" * 2000, b"{" * 100_000])


def _value(draw: random.Random, content: bytes) -> bytes:
    """One value of a JSON text replaced, removed, doubled, or renamed; of lines, in one line or in all."""
    if content.startswith(b"{\n"):
        return json.dumps(_changed(draw, json.loads(content)), indent=1).encode()
    lines = content.splitlines()
    chosen = range(len(lines)) if draw.random() < 0.2 else [draw.randrange(len(lines))]
    seed = draw.random()
    for number in chosen:
        lines[number] = json.dumps(_changed(random.Random(seed), json.loads(lines[number]))).encode()
    return b"\n".join([*lines, b""])


def _changed(draw: random.Random, value: Any) -> Any:
    if isinstance(value, dict) and value:
        key = draw.choice(sorted(value))
        match draw.randrange(12):
            case 0:
                return {name: one for name, one in value.items() if name != key}
            case 1:
                return {
                    draw.choice(["x", "all", "", key * 2]) if name == key else name: one for name, one in value.items()
                }
            case 2:
                return value | {draw.choice(["x", "all", "e2e", ""]): draw.choice(_EXTREMES)}
            case 3 | 4 | 5:
                return value | {key: draw.choice(_EXTREMES)}
            case _:
                return value | {key: _changed(draw, value[key])}
    if isinstance(value, list) and value:
        where = draw.randrange(len(value))
        match draw.randrange(6):
            case 0:
                return value[:where]
            case 1:
                return value * draw.choice([2, 200])
            case 2:
                return value[::-1]
            case _:
                return [*value[:where], _changed(draw, value[where]), *value[where + 1 :]]
    if isinstance(value, int | float) and not isinstance(value, bool) and draw.random() < 0.4:
        return draw.choice([value * 10**6, -value, value + 1, value / 1000, value * 1e290])
    return draw.choice(_EXTREMES)


def _histograms(draw: random.Random, content: bytes) -> bytes:
    """A payload that is a bomb, or of other settings; a tag that is none."""
    lines = content.splitlines()
    where = draw.randrange(3, len(lines))
    head, _, payload = lines[where].rpartition(b",")
    match draw.randrange(4):
        case 0:
            compressed = zlib.compress(bytes(draw.choice([10_000, 30_000_000])))
            payload = base64.b64encode(struct.pack(">II", 0x1C849314, len(compressed)) + compressed)
        case 1:
            outer = base64.b64decode(payload)
            inner = bytearray(zlib.decompress(outer[8:]))
            place = draw.randrange(len(inner))
            inner[place : place + 4] = struct.pack(">I", draw.choice([0, 1, 2**31, 2**32 - 1]))
            compressed = zlib.compress(bytes(inner))
            payload = base64.b64encode(outer[:4] + struct.pack(">I", len(compressed)) + compressed)
        case 2:
            head = head.replace(b"Tag=", draw.choice([b"", b"Tag=x", b"Tag=,", b"tag="]))
        case _:
            payload = payload[: draw.randrange(len(payload))]
    lines[where] = head + b"," + payload
    return b"\n".join([*lines, b""])


_OF_ANY: list[_Bytes] = [_flip, _cut, _zeros, _lines]


def mutate(folder: Path, seed: int) -> str:
    """Change one file of a run folder; what was done to which."""
    draw = random.Random(f"mutant/{seed}")
    path = draw.choice(sorted(path for path in folder.iterdir() if path.stat().st_size))
    if draw.random() < 0.03:
        path.unlink()
        return f"{path.name} removed"
    if path.suffix == ".hlog":
        change = draw.choice([*_OF_ANY, _histograms, _histograms, _histograms])
    else:
        change = draw.choice([*_OF_ANY, *[_value] * 8])
    path.write_bytes(change(draw, path.read_bytes()))
    return f"{path.name}: {change.__name__.strip('_')}"
