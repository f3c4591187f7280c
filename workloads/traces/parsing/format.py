"""What a trace format is, and how a file of that format is recognised."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ...session import Session
from .csv_table import column_names
from .rows import Reading
from .trace_error import BadRow

_TOKENS = re.compile(rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)(?:"(\s*+:)?|\\?\Z)|[\[\]{}]', re.DOTALL)
"""Strings and brackets. A string that breaks off is taken up to the end: were it no match, every quote in it that is
escaped would be tried as the beginning of another, each time to the end."""
_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Sample:
    """The beginning of a file, broken off anywhere.

    Attributes:
        keys: The names in the first JSON objects, not in what is nested in them.
        columns: What the first line of a CSV file names, in lower case.
    """

    keys: frozenset[str] = _NOTHING
    columns: frozenset[str] = _NOTHING

    @classmethod
    def of(cls, text: bytes) -> Sample:
        """Look at the first bytes of a file."""
        text = text.removeprefix(b"\xef\xbb\xbf").lstrip()
        first_line = text.partition(b"\n")[0]
        if text.startswith(b"["):
            return cls(keys=_object_keys(text, depth=2))
        if first_line.strip() == b"{":
            return cls(keys=_object_keys(text, depth=1))
        if text.startswith(b"{"):
            return cls(keys=frozenset().union(*(_object_keys(line, depth=1) for line in text.splitlines())))
        try:
            return cls(columns=frozenset(column_names(first_line)))
        except (BadRow, UnicodeDecodeError):
            return cls()


@dataclass(frozen=True, slots=True)
class TraceFormat:
    """A format of traces.

    Attributes:
        description: One line for people.
        matches: Whether a file that begins like this has the format.
        sessions: All sessions of a file, in order.
        has_timestamps: Whether sessions have a start; None where some files have them and some do not.
    """

    description: str
    matches: Callable[[Sample], bool]
    sessions: Callable[[Reading], Iterator[Session]]
    has_timestamps: bool | None


def has_keys(*keys: str, but: tuple[str, ...] = ()) -> Callable[[Sample], bool]:
    """Recognises JSON objects with all of these keys and none of the others."""
    return lambda sample: sample.keys.issuperset(keys) and sample.keys.isdisjoint(but)


def has_columns(*columns: str) -> Callable[[Sample], bool]:
    """Recognises CSV files with all of these columns."""
    return lambda sample: sample.columns.issuperset(columns)


def _object_keys(text: bytes, depth: int) -> frozenset[str]:
    """The keys of objects at that depth. A string that breaks off holds no whole one, so nothing is found in it."""
    keys = set()
    at = 0
    for token in _TOKENS.finditer(text):
        match token[0][:1]:
            case b"{" | b"[":
                at += 1
            case b"}" | b"]":
                at -= 1
            case _ if at == depth and token[2]:
                keys.add(token[1].decode(errors="replace"))
    return frozenset(keys)
