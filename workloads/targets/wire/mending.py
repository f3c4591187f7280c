"""JSON that is right but for its characters, as servers write it that cut a character in two."""

from __future__ import annotations

import re

_ESCAPES = re.compile(
    rb"""\\\\                                       # a backslash: what follows it is no escape
    | \\u[dD][89abAB]..\\u[dD][c-fC-F]..            # a pair of surrogates
    | \\u[dD][89a-fA-F][0-9a-fA-F]{2}               # one of them alone
    """,
    re.VERBOSE,
)
_LONE_CHARS = 6


def mended(json: bytes) -> bytes:
    """The JSON with U+FFFD for bytes that are no UTF-8, as the standard of event streams says, and for lone surrogates.

    `json` itself where there are none.
    """
    try:
        json.decode()
    except UnicodeDecodeError:
        json = json.decode(errors="replace").encode()
    return _ESCAPES.sub(lambda found: rb"\ufffd" if len(found[0]) == _LONE_CHARS else found[0], json)
