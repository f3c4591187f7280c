"""Compressed bodies: inflated as they come, with a bound, in every format whose library is there."""

from __future__ import annotations

import gzip
import importlib
import random
import zlib
from collections.abc import Callable
from itertools import islice

import pytest
from abatch.workloads.http import inflating, limits
from abatch.workloads.http.faults import RefusedError
from abatch.workloads.http.inflating import Inflater

_TEXT = random.Random(1).randbytes(3000) + b"w" * 1_000_000


def _bare_deflate(text: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(text) + compressor.flush()


_COMPRESSED: dict[str, tuple[str, bytes]] = {
    "gzip": ("gzip", gzip.compress(_TEXT)),
    "gzip of members": ("x-gzip", gzip.compress(_TEXT[:9]) + gzip.compress(_TEXT[9:]) + b"\0" * 9),
    "deflate": ("deflate", zlib.compress(_TEXT)),
    "bare deflate": ("deflate", _bare_deflate(_TEXT)),
}


@pytest.mark.parametrize("name", _COMPRESSED)
@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 30])
def test_whatever_arrives_is_inflated(name: str, size: int) -> None:
    encoding, data = _COMPRESSED[name]
    inflater = Inflater(encoding)
    reads = [data[start : start + size] for start in range(0, len(data), size)]
    assert b"".join(piece for read in reads for piece in inflater.pieces(read)) == _TEXT


def test_an_event_is_there_when_its_bytes_are() -> None:
    """A server flushes its compressor behind each event. Nothing may wait for the next one."""
    compressor, inflater = zlib.compressobj(wbits=zlib.MAX_WBITS | 16), Inflater("gzip")
    for number in range(20):
        event = b"data: %d\n\n" % number
        read = compressor.compress(event) + compressor.flush(zlib.Z_SYNC_FLUSH)
        assert b"".join(inflater.pieces(read)) == event


def test_a_bomb_is_inflated_as_far_as_somebody_reads() -> None:
    pieces = [*islice(Inflater("gzip").pieces(gzip.compress(b"\0" * (8 << 20))), 4)]
    assert [len(piece) for piece in pieces] == [limits.INFLATED_PIECE_BYTES] * 4


@pytest.mark.parametrize(
    ("encoding", "data", "says"),
    [
        ("gzip", b"data: hello\n\n", "the body is not gzip"),
        ("gzip", gzip.compress(b"a") + b"garbage", "the body is not gzip"),
        ("deflate", b"\x78\x9c\xff\xff\xff", "the body is not deflate"),
    ],
    ids=["no gzip", "more behind it", "no deflate"],  # each gzip body has the time in it
)
def test_what_is_no_compressed_text_is_refused(encoding: str, data: bytes, says: str) -> None:
    with pytest.raises(RefusedError, match=says):
        list(Inflater(encoding).pieces(data))


def test_members_of_nothing_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflating, "ENCODED_BYTES_PAST", 10_000)
    inflater, nothing = Inflater("gzip"), gzip.compress(b"")
    assert list(inflater.pieces(nothing * 100 + gzip.compress(b"a"))) == [b"a"]
    with pytest.raises(RefusedError, match="compressed bytes of next to nothing"):
        list(inflater.pieces(nothing * 500))


@pytest.mark.parametrize(
    ("encoding", "remedy"),
    [
        ("br", "install 'brotli>=1.2'"),
        ("zstd", "install 'zstandard'"),
        ("gzip, br", "turn it off"),
        ("x?", "turn it off"),
    ],
)
def test_what_nothing_inflates_is_named(encoding: str, remedy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflating, "_first_of", lambda *names: None)
    with pytest.raises(RefusedError) as caught:
        Inflater(encoding)
    assert f"({encoding})" in str(caught.value)
    assert remedy in str(caught.value)


_LIBRARIES: list[tuple[str, str, Callable[[bytes], bytes]]] = [
    ("br", "brotli", lambda text: importlib.import_module("brotli").compress(text, quality=3)),
    ("zstd", "backports.zstd", lambda text: importlib.import_module("backports.zstd").compress(text)),
    ("zstd", "zstandard", lambda text: importlib.import_module("zstandard").compress(text)),
]


@pytest.mark.parametrize(("encoding", "library", "compress"), _LIBRARIES, ids=lambda value: value if value else "")
def test_with_a_library(
    encoding: str, library: str, compress: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = pytest.importorskip(library)
    monkeypatch.setattr(inflating, "_first_of", lambda *names: module if library in names else None)
    data = compress(_TEXT)
    for size in (1, 1000, 1 << 30):
        inflater = Inflater(encoding)
        reads = [data[start : start + size] for start in range(0, len(data), size)]
        assert b"".join(piece for read in reads for piece in inflater.pieces(read)) == _TEXT
    bomb = compress(b"\0" * (8 << 20))
    assert all(len(piece) <= 2 << 20 for piece in islice(Inflater(encoding).pieces(bomb), 4))
    with pytest.raises(RefusedError, match=f"the body is not {encoding}"):
        list(Inflater(encoding).pieces(b"data: hello\n\n" * 100))
