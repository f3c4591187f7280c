"""JSON bodies, decoded only where that holds up no one else.

Decoding holds the interpreter's lock from its beginning to its end, in whichever thread, so what it may take must be
known beforehand. Text costs little (10 ms for 4 MiB); values cost: 8 million token ids take a second.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec

from ...errors import RequestError

_Body = TypeVar("_Body", bound=msgspec.Struct)
_Result = TypeVar("_Result")

MOST_VALUES = 1 << 17
"""In one body: 131,072 token ids, or 32,768 keys, which take some 20 ms. Servers add what their context may need."""
_CONTAINER_OR_KEY = 4
"""What a list, an object or a key counts, by the time it takes next to a token id (0.06 us)."""
_EXPONENT = 256
"""What a number with an exponent may count: those next to the limits of a double take 28 us."""
_LONG_NUMBER = re.compile(rb"[0-9][-+.0-9eE]{64}")
"""Longer than any double or 128-bit integer. Reading an integer takes time by the square of its digits."""
_SLICE_BYTES = 1 << 16
"""Counting one takes well under a millisecond; then another thread may have the interpreter's lock."""
_QUICK_BYTES = 8192
"""A body up to this size takes a millisecond or two, less than a thread is worth."""
_MAX_ERROR_CHARACTERS = 300
"""Of what a decoder says, which may repeat a value of the body."""

_threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="large-requests")
"""For what is large. Each may keep the lock for a switch interval when the event loop wants it, so they are few."""


async def aside(num_bytes: int, work: Callable[[], _Result]) -> _Result:
    """The result of `work`, done in a thread where the request that it is for is large, so that no stream stalls."""
    if num_bytes <= _QUICK_BYTES:
        return work()
    return await asyncio.get_running_loop().run_in_executor(_threads, work)


def decode_json(raw: bytes, decoder: msgspec.json.Decoder[_Body], *, most_values: int = MOST_VALUES) -> _Body:
    """A JSON body, checked.

    Raises:
        RequestError: it is no JSON, not what the endpoint takes, or more than can be decoded at once (400).
    """
    JsonBudget(most_values, "the body").spend(raw)
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        param = path.rstrip("`").lstrip(".")[:_MAX_ERROR_CHARACTERS] or None
        message = shortened(message)
        raise RequestError(f"{message} at {param}" if param else message, param=param) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"the body is not valid JSON: {shortened(str(error))}"
        raise RequestError(message, code="invalid_json") from error
    except RecursionError as error:
        raise RequestError("the body is nested too deeply", code="invalid_json") from error


class JsonBudget:
    """What may be decoded for one request, known by counting what stands outside strings.

    Args:
        most_values: A list, an object or a key counts as several values, and a number with an exponent as many.
        what: It is counted of, for the error message.
    """

    def __init__(self, most_values: int, what: str) -> None:
        self._most_values = most_values
        self._what = what
        self._num_values = 0

    def spend(self, raw: bytes) -> None:
        """Count JSON that is about to be decoded.

        Raises:
            RequestError: it has too many values, or a number too long to be one.
        """
        is_in_string = False
        start = 0
        while start < len(raw):
            piece = raw[start : start + _SLICE_BYTES]
            if (len(piece) - len(piece.rstrip(b"\\"))) % 2:  # what a backslash escapes must not begin the next slice
                piece = raw[start : start + _SLICE_BYTES + 1]
            start += len(piece)
            parts = piece.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
            self._add(b'"'.join(parts[is_in_string::2]))
            is_in_string ^= len(parts) % 2 == 0

    def _add(self, outside: bytes) -> None:
        self._num_values += _count(outside)
        if self._num_values > self._most_values:
            raise RequestError(
                f"{self._what}: more than {self._most_values} JSON values, where a list, an object or a key "
                f"counts as {_CONTAINER_OR_KEY} and a number with an exponent as {_EXPONENT}",
                code="too_many_values",
            )
        if _LONG_NUMBER.search(outside):
            raise RequestError(f"{self._what}: a number of more than 64 characters", code="number_too_long")


def _count(outside: bytes) -> int:
    num_exponents = outside.count(b"e") + outside.count(b"E") - outside.count(b"true") - outside.count(b"false")
    num_containers_and_keys = sum(map(outside.count, (b"[", b"{", b":")))
    return outside.count(b",") + _CONTAINER_OR_KEY * num_containers_and_keys + _EXPONENT * max(0, num_exponents)


def shortened(message: str) -> str:
    """On one line, and no longer than a message should be."""
    line = " ".join(message.split())
    return line if len(line) <= _MAX_ERROR_CHARACTERS else f"{line[:_MAX_ERROR_CHARACTERS]}..."
