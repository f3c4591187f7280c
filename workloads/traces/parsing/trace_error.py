"""What is wrong with a trace, and where."""

from __future__ import annotations

import re

import msgspec

from ....engine.errors import ConfigurationError

_MOST_CHARACTERS = 300
"""Of a problem: it may quote a cell, and a row may be of 64 MiB."""
_MISSING = re.compile(r"Object missing required field `(.+?)`")


class TraceError(ConfigurationError):
    """A trace that cannot be read; its text names file, line and field."""


class BadRow(Exception):  # noqa: N818 - not an error yet: whoever reads the file decides that
    """A row that is no use. `field` is empty where no field is to blame."""

    def __init__(self, field: str, problem: str) -> None:
        text = f"{field}: {problem}" if field else problem
        super().__init__(text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}...")


def as_bad_row(error: msgspec.DecodeError | BadRow) -> BadRow:
    """What msgspec says about a row, as field and problem."""
    if isinstance(error, BadRow):
        return error
    problem, _, path = str(error).partition(" - at `$")
    path = path.removesuffix("`").removeprefix(".")
    if missing := _MISSING.match(problem):
        return BadRow(f"{path}.{missing[1]}" if path else missing[1], "is missing")
    return BadRow(path, problem)
