"""Compressed bodies, inflated as they come and never further than somebody reads."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import aiohttp

from .faults import BAD_RESPONSE, TOO_MUCH, RefusedError, printable
from .limits import ENCODED_BYTES_PAST, INFLATED_PIECE_BYTES, ZSTD_WINDOW_BYTES

_SLICE_BYTES = 1 << 14
"""Input at a time. What follows a member is copied for each of them, and a member may have 20 bytes."""
_ZSTD_SLICE_BYTES = 64
"""Input of one call to a library that does not bound its output. A block of zstd has at least four bytes and inflates
to 128 KiB, so that this makes 2 MiB."""


class _Decompressor(Protocol):
    """Inflates one stream of compressed data.

    Attributes:
        failures: What it raises if the data is wrong.
    """

    failures: tuple[type[Exception], ...]

    def decompress(self, data: bytes) -> bytes:
        """A piece of what the data inflates to. What is left comes with further calls, without data."""

    def has_more(self) -> bool:
        """Whether the last call left something."""

    def unused(self) -> bytes | None:
        """What followed the end of the stream; None before its end."""


class Inflater:
    """A compressed body as it comes in.

    Whatever arrives is inflated as far as it goes, so that an event is read when it arrives and not when the next one
    does. How long the server's compressor held it back, nobody can tell from here.
    """

    def __init__(self, encoding: str) -> None:
        """`encoding`: a name of `Content-Encoding`.

        Raises:
            RefusedError: nothing here inflates it.
        """
        self._encoding = encoding
        self._open = _opener(encoding)
        self._stream: _Decompressor | None = None
        self._has_ended = False
        self._num_encoded = self._num_inflated = 0

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """What the next bytes of the body inflate to, in pieces.

        Raises:
            RefusedError: they are not what the header says, or inflate to next to nothing.
        """
        self._num_encoded += len(data)
        for start in range(0, len(data), _SLICE_BYTES):
            yield from self._pieces_of_slice(data[start : start + _SLICE_BYTES])
        if self._num_encoded > self._num_inflated + ENCODED_BYTES_PAST:
            raise RefusedError(TOO_MUCH, f"{self._num_encoded:,} compressed bytes of next to nothing")

    def _pieces_of_slice(self, data: bytes) -> Iterator[bytes]:
        while data := data.lstrip(b"\0") if self._has_ended else data:
            self._stream = self._stream or self._open()
            self._has_ended = False
            yield from self._pieces_of(self._stream, data)
            if (unused := self._stream.unused()) is None:
                break
            # gzip and zstd may go on with another member, and gzip with padding.
            self._stream, self._has_ended, data = None, True, unused

    def _pieces_of(self, stream: _Decompressor, data: bytes) -> Iterator[bytes]:
        has_more = True
        while has_more:
            try:
                piece = stream.decompress(data)
            except stream.failures as error:
                raise RefusedError(BAD_RESPONSE, f"the body is not {self._encoding}: {error}") from error
            data, has_more = b"", stream.has_more()
            self._num_inflated += len(piece)
            if piece:
                yield piece


def encoding_of(response: aiohttp.ClientResponse) -> str:
    """How a body is compressed, fit to be shown; empty where it is not."""
    encoding = printable(response.headers.get("Content-Encoding", ""), 40).strip().lower()
    return "" if encoding == "identity" else encoding


def inflater_of(response: aiohttp.ClientResponse) -> Inflater | None:
    """What inflates a body; None where it is not compressed.

    Raises:
        RefusedError: nothing here does.
    """
    encoding = encoding_of(response)
    return Inflater(encoding) if encoding else None


class _Zlib:
    """gzip, and `deflate`: zlib's format by the standard, and the bare one of some servers. The first byte tells."""

    failures: tuple[type[Exception], ...] = (zlib.error,)

    def __init__(self, window_bits: int | None) -> None:
        """`window_bits`: None where the first byte tells."""
        self._zlib = None if window_bits is None else zlib.decompressobj(window_bits)
        self._was_full = False

    def decompress(self, data: bytes) -> bytes:
        if self._zlib is None:
            has_header = data[0] & 0x0F == zlib.DEFLATED
            self._zlib = zlib.decompressobj(zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)
        piece = self._zlib.decompress(self._zlib.unconsumed_tail + data, INFLATED_PIECE_BYTES)
        self._was_full = len(piece) == INFLATED_PIECE_BYTES
        return piece

    def has_more(self) -> bool:
        return self._was_full

    def unused(self) -> bytes | None:
        return self._zlib.unused_data if self._zlib is not None and self._zlib.eof else None


class _Brotli:
    """Google's library, from 1.2 on: before that it could not bound its output."""

    def __init__(self, library: Any) -> None:
        self.failures: tuple[type[Exception], ...] = (library.error,)
        self._brotli = library.Decompressor()
        self._was_full = False

    def decompress(self, data: bytes) -> bytes:
        piece = bytes(self._brotli.process(data, output_buffer_limit=INFLATED_PIECE_BYTES))
        self._was_full = len(piece) >= INFLATED_PIECE_BYTES
        return piece

    def has_more(self) -> bool:
        return self._was_full or not self._brotli.can_accept_more_data()

    def unused(self) -> bytes | None:
        return b"" if self._brotli.is_finished() else None


class _Zstd:
    """`compression.zstd` of Python 3.14, and its backport for older ones."""

    def __init__(self, library: Any) -> None:
        self.failures: tuple[type[Exception], ...] = (library.ZstdError,)
        window = {library.DecompressionParameter.window_log_max: ZSTD_WINDOW_BYTES.bit_length() - 1}
        self._zstd = library.ZstdDecompressor(options=window)

    def decompress(self, data: bytes) -> bytes:
        return bytes(self._zstd.decompress(data, INFLATED_PIECE_BYTES))

    def has_more(self) -> bool:
        return not (self._zstd.needs_input or self._zstd.eof)

    def unused(self) -> bytes | None:
        return bytes(self._zstd.unused_data) if self._zstd.eof else None


class _Zstandard:
    """The package `zstandard`, which gets its input in slices because it does not bound its output."""

    def __init__(self, library: Any) -> None:
        self.failures: tuple[type[Exception], ...] = (library.ZstdError,)
        self._zstd = library.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES).decompressobj()
        self._waiting = b""

    def decompress(self, data: bytes) -> bytes:
        self._waiting += data
        part, self._waiting = self._waiting[:_ZSTD_SLICE_BYTES], self._waiting[_ZSTD_SLICE_BYTES:]
        return bytes(self._zstd.decompress(part))

    def has_more(self) -> bool:
        return bool(self._waiting) and not self._zstd.eof

    def unused(self) -> bytes | None:
        return bytes(self._zstd.unused_data) + self._waiting if self._zstd.eof else None


def _opener(encoding: str) -> Callable[[], _Decompressor]:
    """What opens a stream of this encoding.

    Raises:
        RefusedError: nothing does.
    """
    match encoding:
        case "gzip" | "x-gzip":
            return lambda: _Zlib(zlib.MAX_WBITS | 16)
        case "deflate":
            return lambda: _Zlib(None)
        case "br":
            library = _first_of("brotli")
            if library is not None and hasattr(library.Decompressor, "can_accept_more_data"):
                return lambda: _Brotli(library)
            raise _refusal(encoding, "install 'brotli>=1.2', or ")
        case "zstd":
            if (library := _first_of("compression.zstd", "backports.zstd")) is not None:
                return lambda: _Zstd(library)
            if (library := _first_of("zstandard")) is not None:
                return lambda: _Zstandard(library)
            raise _refusal(encoding, "install 'zstandard', or ")
    raise _refusal(encoding, "")


def _first_of(*names: str) -> Any:
    """The first of these modules that is installed; None if none is."""
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


def _refusal(encoding: str, remedy: str) -> RefusedError:
    return RefusedError(
        BAD_RESPONSE,
        f"the body is compressed ({encoding}) though the client asked for none of that: {remedy}turn it off for "
        "streams, as it may hold events back",
    )
