"""Sessions of formats that have a row a request: alone, or scattered over the file."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ...regular_file import open_regular
from ...session import Session, SharedPrefix, Turn
from .rows import Reading, Row, Rows
from .session_ids import numbered_id, recorded_id
from .timing import StartTimes


class RowKey(NamedTuple):
    """Which session a row belongs to, and when it was sent; None where the row does not say."""

    session: str | None
    time_s: float | None


class SessionBuilder(Protocol):
    """Makes the turns of one session, row by row."""

    def turn(self, row: Row) -> Turn | None:
        """The turn of the next row; None drops it."""

    @property
    def prefix(self) -> SharedPrefix | None:
        """What the session begins with, known once its turns are."""


@dataclass(frozen=True, slots=True)
class RowFormat:
    """How rows become sessions.

    Attributes:
        kind: The format's name, for the names of sessions that have none.
        key: Raises BadRow.
        new_builder: For a session of that id.
    """

    kind: str
    traffic_class: str
    key: Callable[[Row], RowKey]
    new_builder: Callable[[str], SessionBuilder]

    def single(self, reading: Reading, rows: Rows) -> Iterator[Session]:
        """A session for each row."""
        starts = StartTimes()

        def parse(row: Row) -> Session | None:
            key = self.key(row)
            session_id = numbered_id(self.kind, row.number)
            builder = self.new_builder(session_id)
            turn = builder.turn(row)
            if turn is None:
                return None
            return Session(session_id, self.traffic_class, (turn,), builder.prefix, starts.start_s(key.time_s))

        return reading.parsed(rows, parse)

    def grouped(self, reading: Reading, rows: Rows) -> Iterator[Session]:
        """Sessions by start, or by their first row where the first one has no time. Their rows are in file order.

        A row without a session is one. The file is read twice; all that is kept of it is where rows are (24 bytes
        each) and which sessions there are.
        """
        index = _Index()
        for number, offset, key in reading.parsed(rows, lambda row: (row.number, row.offset, self.key(row))):
            index.add(number, offset, key)
        starts = StartTimes()
        with open_regular(reading.path) as file:
            for head in index.heads_by_start():
                (first,) = reading.lines_at(file, [index.place(head)])
                name, time_s = self.key(first)
                named = numbered_id(self.kind, first.number) if name is None else recorded_id(self.kind, name)
                builder = self.new_builder(named)
                turns = tuple(reading.parsed(reading.lines_at(file, index.places(head)), builder.turn))
                if turns:
                    yield Session(named, self.traffic_class, turns, builder.prefix, starts.start_s(time_s))


class _Index:
    """Where each session's rows are: a chain through the file, from its head."""

    def __init__(self) -> None:
        self._numbers, self._offsets, self._followers = array("q"), array("q"), array("q")
        self._heads, self._starts_s = array("q"), array("d")
        self._last_of: dict[str, int] = {}

    def add(self, number: int, offset: int, key: RowKey) -> None:
        """The next row."""
        index = len(self._offsets)
        self._numbers.append(number)
        self._offsets.append(offset)
        self._followers.append(-1)
        previous = None if key.session is None else self._last_of.get(key.session)
        if previous is None:
            self._heads.append(index)
            # Without a time of its own it starts with the one before it.
            before_s = self._starts_s[-1] if self._starts_s else 0.0
            self._starts_s.append(before_s if key.time_s is None else key.time_s)
        else:
            self._followers[previous] = index
        if key.session is not None:
            self._last_of[key.session] = index

    def heads_by_start(self) -> Iterator[int]:
        """The first row of each session. Nothing can be added any more."""
        self._last_of.clear()
        for place in sorted(range(len(self._heads)), key=self._starts_s.__getitem__):
            yield self._heads[place]

    def place(self, index: int) -> tuple[int, int]:
        """A row's line and offset."""
        return self._numbers[index], self._offsets[index]

    def places(self, index: int) -> Iterator[tuple[int, int]]:
        """Lines and offsets of a session's rows, from this one on."""
        while index >= 0:
            yield self.place(index)
            index = self._followers[index]
