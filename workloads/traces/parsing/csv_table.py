"""Rows of a CSV file by the names of its columns."""

from __future__ import annotations

import csv
import math
from datetime import UTC, datetime

from .bounds import LONGEST_TIME_S, MOST_TOKENS
from .rows import Reading, Row, Rows
from .trace_error import BadRow


class CsvTable:
    """The first line names the columns; upper and lower case are the same. A row is a line, quoted or not.

    Raises:
        TraceError: the first line is malformed, or a column is missing.
    """

    def __init__(self, reading: Reading, columns: tuple[str, ...]) -> None:
        self._reading = reading
        header = next(reading.lines(), None)
        try:
            names = [] if header is None else column_names(header.data)
        except (BadRow, UnicodeDecodeError) as error:
            raise reading.error(1, error) from None
        self._places = {name: place for place, name in reversed(list(enumerate(names)))}
        for column in columns:
            if column.lower() not in self._places:
                raise reading.error(1, BadRow(column, "no such column"))

    def has(self, column: str) -> bool:
        """There is such a column."""
        return column.lower() in self._places

    def rows(self) -> Rows:
        """All rows but the first, which names the columns."""
        rows = self._reading.lines()
        next(rows, None)
        return rows

    def cells(self, row: Row) -> list[str]:
        """A row's cells.

        Raises:
            BadRow: it has fewer than the first row.
        """
        cells = _cells(row.data)
        if len(cells) < len(self._places):
            raise BadRow("", f"expected {len(self._places)} columns, got {len(cells)}")
        return cells

    def text(self, cells: list[str], column: str) -> str:
        """What a cell says."""
        return cells[self._places[column.lower()]].strip()

    def tokens(self, cells: list[str], column: str, least: int = 0) -> int:
        """A count of tokens.

        Raises:
            BadRow: it is none, or out of range.
        """
        text = cells[self._places[column.lower()]]
        try:
            value = int(_plain(text))
        except ValueError:
            value = -1
        if not least <= value <= MOST_TOKENS:
            raise BadRow(column, f"expected a whole number from {least} to {MOST_TOKENS}, got {text.strip()!r}")
        return value

    def seconds(self, cells: list[str], column: str) -> float:
        """A time.

        Raises:
            BadRow: it is none, or out of range.
        """
        text = cells[self._places[column.lower()]]
        try:
            value = float(_plain(text))
        except ValueError:
            value = math.nan
        if not 0 <= value <= LONGEST_TIME_S:
            raise BadRow(column, f"expected seconds from 0 to {LONGEST_TIME_S:g}, got {text.strip()!r}")
        return value

    def seconds_or_none(self, cells: list[str], column: str) -> float | None:
        """A time, None where the cell is empty."""
        return self.seconds(cells, column) if self.text(cells, column) else None

    def date_s(self, cells: list[str], column: str) -> float:
        """A date with time of day, in seconds since 1970. Without a time zone it is UTC.

        Raises:
            BadRow: it is none.
        """
        return date_s(self.text(cells, column), column)


def column_names(line: bytes) -> list[str]:
    """The columns a first line names, in lower case."""
    return [name.strip().lower() for name in _cells(line)]


def date_s(text: str, field: str) -> float:
    """A date in ISO 8601, with any number of fractional digits, in seconds since 1970.

    Raises:
        BadRow: it is none.
    """
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        raise BadRow(field, f"expected a date such as 2023-11-16 18:15:46.68, got {text!r}") from None
    return (date.replace(tzinfo=UTC) if date.tzinfo is None else date).timestamp()


def _plain(text: str) -> str:
    """Python takes 1_000 for a number; nobody else does.

    Raises:
        ValueError: it is not plain.
    """
    if "_" in text or not text.isascii():
        raise ValueError(text)
    return text


def _cells(line: bytes) -> list[str]:
    text = line.decode().rstrip("\r\n")
    if '"' not in text:
        return text.split(",")
    try:
        return next(csv.reader([text]), [])
    except csv.Error as error:
        raise BadRow("", f"CSV is malformed: {error}") from None
