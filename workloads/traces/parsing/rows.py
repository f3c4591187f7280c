"""One reading of a trace's file: its rows, and what becomes of bad ones."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

import msgspec

from ...regular_file import open_regular
from .json_splitter import JsonSplitter
from .trace_error import BadRow, TraceError, as_bad_row

LONGEST_ROW_BYTES = 64 * 2**20
_PIECE_BYTES = 2**18
_BOM = b"\xef\xbb\xbf"

T = TypeVar("T")


class Row(NamedTuple):
    """A row as it stands in the file.

    Attributes:
        number: Of its line, or of the element in a list; from 1.
        offset: Of its first byte in the file. For lines only.
    """

    number: int
    data: bytes
    offset: int


Rows = Generator[Row, None, None]
"""Rows of an open file. Closing them closes it."""


class Reading:
    """Goes through a file from its beginning. Rows are held one at a time."""

    def __init__(self, path: Path, *, skip_bad_rows: bool = False) -> None:
        self.path = path
        self.num_skipped = 0
        """Bad rows left out."""
        self.num_dropped = 0
        """Rows the format has no use for: failed requests, conversations without an answer."""
        self._skip_bad_rows = skip_bad_rows
        self._has_lines = True

    def lines(self) -> Rows:
        """The lines of the file that are not blank.

        Raises:
            TraceError: a line is too long.
        """
        number = offset = 0
        with open_regular(self.path) as file:
            while line := file.readline(LONGEST_ROW_BYTES + 1):
                number += 1
                size = len(line)
                if size > LONGEST_ROW_BYTES:
                    size += _skip_line(file)
                    self.reject(number, BadRow("", f"the line is longer than {LONGEST_ROW_BYTES >> 20} MiB"))
                else:
                    if number == 1:
                        line = line.removeprefix(_BOM)
                    if not line.isspace():
                        yield Row(number, line, offset)
                offset += size

    def lines_at(self, file: BinaryIO, places: Iterable[tuple[int, int]]) -> Rows:
        """Lines again, by number and offset."""
        for number, offset in places:
            file.seek(offset)
            yield Row(number, file.readline().removeprefix(_BOM), offset)

    def values(self) -> Rows:
        """JSON values: a line each, the elements of a list, or objects that are spread over lines.

        Raises:
            TraceError: the file breaks off, or its brackets do not match.
        """
        with open_regular(self.path) as file:
            first = b""
            while not first.strip() and (line := file.readline(_PIECE_BYTES)):
                first = line.removeprefix(_BOM)
        first = first.strip()
        # `{` alone: indented by a program. A line that is broken in another way is a bad row, not a layout.
        self._has_lines = not first.startswith(b"[") and first != b"{"
        return self.lines() if self._has_lines else self._pieces(is_list=first != b"{")

    def parsed(self, rows: Rows, parse: Callable[[Row], T | None]) -> Iterator[T]:
        """What `parse` makes of each row. None drops it.

        Raises:
            TraceError: a row is bad, and bad ones are not to be skipped.
        """
        with closing(rows):  # what fails keeps its frames for a while, and with them an open file
            for row in rows:
                try:
                    value = parse(row)
                except (BadRow, msgspec.DecodeError, UnicodeDecodeError) as error:
                    self.reject(row.number, error)
                    continue
                except RecursionError:
                    self.reject(row.number, BadRow("", "is nested too deeply"))
                    continue
                if value is None:
                    self.num_dropped += 1
                else:
                    yield value

    def reject(self, number: int, error: BadRow | msgspec.DecodeError | UnicodeDecodeError) -> None:
        """Count a bad row.

        Raises:
            TraceError: bad rows are not to be skipped.
        """
        if not self._skip_bad_rows:
            raise self.error(number, error) from error
        self.num_skipped += 1

    def error(self, number: int, error: BadRow | msgspec.DecodeError | UnicodeDecodeError) -> TraceError:
        """What is wrong with a row, for the user."""
        problem = BadRow("", "the text is not UTF-8") if isinstance(error, UnicodeDecodeError) else as_bad_row(error)
        place = f"{self.path.name}:{number}" if self._has_lines else f"{self.path.name}: item {number}"
        return TraceError(f"{place}: {problem}")

    def _pieces(self, *, is_list: bool) -> Rows:
        splitter = JsonSplitter(is_list=is_list)
        number = 0
        try:
            with open_regular(self.path) as file:
                if file.read(len(_BOM)) != _BOM:
                    file.seek(0)
                for piece in iter(partial(file.read, _PIECE_BYTES), b""):
                    for value in splitter.feed(piece):
                        number += 1
                        yield Row(number, value, -1)
                    if splitter.num_pending_bytes > LONGEST_ROW_BYTES:
                        raise ValueError(f"the item is longer than {LONGEST_ROW_BYTES >> 20} MiB")
            splitter.finish()
        except ValueError as error:
            # Nothing after this place can be told apart: that is no row to skip.
            raise self.error(number + 1, BadRow("", f"JSON is malformed: {error}")) from error


def _skip_line(file: BinaryIO) -> int:
    """Go to the end of the line; how many bytes that were."""
    size = 0
    while piece := file.readline(_PIECE_BYTES):
        size += len(piece)
        if piece.endswith(b"\n"):
            break
    return size
