"""What can be wrong with a response, in classes and in words."""

from __future__ import annotations

import msgspec

TOO_MUCH = "too_much"
"""Class of failures: the server sent more than the client reads."""
BAD_RESPONSE = "bad_response"
"""Class of failures: what the server sent is not what it should be."""
MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding raises where bytes are not the JSON that they should be."""


class RefusedError(Exception):
    """What a server sends is not read, or not read any further.

    Attributes:
        kind: The class of failure.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def printable(text: str, most_chars: int) -> str:
    """Text of a header, fit for one line: headers may hold any bytes."""
    return "".join(char if char.isprintable() else "?" for char in text[:most_chars])


def http_fault(error: BaseException) -> str:
    """What is wrong with a response that is no HTTP: the first line of what the library says, without the bytes."""
    lines = str(getattr(error, "message", error)).strip().splitlines()
    return lines[0].rstrip(":") if lines else type(error).__name__
