"""Cuts JSON text that arrives in pieces into values, so that a list of any length is read one element at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator

_STRUCTURE = re.compile(rb'["\[\]{},]')
_REST_OF_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)


class JsonSplitter:
    """The elements of a list or, where there is no list, the objects that follow each other.

    Values are cut out, not checked: what is inside them is for a decoder to judge.
    """

    def __init__(self, *, is_list: bool) -> None:
        self._is_list = is_list
        self._buffer = bytearray()
        self._position = 0
        self._start = 0
        self._depth = 0
        self._in_string = False
        self._num_values = 0
        self._is_closed = False

    @property
    def num_pending_bytes(self) -> int:
        """How much of a value that has not ended is held."""
        return len(self._buffer)

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The values that end in the next piece. They must all be taken before there is another.

        Raises:
            ValueError: the text is no list, or no objects.
        """
        self._buffer += piece
        while self._skip_string() and (found := _STRUCTURE.search(self._buffer, self._position)):
            self._position = found.end()
            match self._buffer[found.start()]:
                case 0x22:  # "
                    self._in_string = True
                case 0x7B | 0x5B:  # { [
                    self._open(found.end())
                case 0x7D | 0x5D:  # } ]
                    yield from self._close(found.start())
                case _ if self._depth == self._floor == 1:
                    yield self._cut(found.start(), found.end())
                case _ if self._depth == 0:
                    raise ValueError("a comma outside of any value")
        if not self._in_string:
            self._position = len(self._buffer)
        del self._buffer[: self._start]
        self._position -= self._start
        self._start = 0

    def finish(self) -> None:
        """Say that there is no more.

        Raises:
            ValueError: the text ends in the middle of a value, or too late.
        """
        if self._depth or (self._is_list and not self._is_closed):
            raise ValueError("the file ends in the middle of a value")
        if self._buffer.strip():
            raise ValueError("text after the last value")

    @property
    def _floor(self) -> int:
        return 1 if self._is_list else 0

    def _skip_string(self) -> bool:
        """Go on behind the string; False if it has not ended yet."""
        if self._in_string and (rest := _REST_OF_STRING.match(self._buffer, self._position)):
            self._position = rest.end()
            # A backslash may be the last byte there is: what it escapes comes with the next piece.
            if self._buffer[self._position : self._position + 1] == b'"':
                self._in_string = False
                self._position += 1
        return not self._in_string

    def _open(self, end: int) -> None:
        if self._is_list and self._depth == 0:
            if self._is_closed:
                raise ValueError("text after the last value")
            self._start = end
        self._depth += 1

    def _close(self, start: int) -> Iterator[bytes]:
        self._depth -= 1
        if self._depth < 0:
            raise ValueError("an unmatched closing bracket")
        if self._depth == 0 and self._is_list:
            # `[]` has no element; `[1,]` lacks one.
            if self._num_values or self._buffer[self._start : start].strip():
                yield self._cut(start, start + 1)
            self._start = start + 1
            self._is_closed = True
        elif self._depth == 0:
            yield self._cut(start + 1, start + 1)

    def _cut(self, end: int, next_start: int) -> bytes:
        value = bytes(self._buffer[self._start : end]).strip()
        self._num_values += 1
        self._start = next_start
        return value
