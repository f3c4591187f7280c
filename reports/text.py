"""Text from outside, before any of it is shown: a name, an error message, a path."""

from __future__ import annotations

import re
from typing import Any

import msgspec

MOST_CHARACTERS = 1000
"""Of one text. No sentence of ours is longer, and none of others' needs more room."""
MARK = "\ufffd"
"""Stands for a character that is not shown."""
_CUT = "..."
_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\uffa0\U000e0100-\U000e01ef]")
"""Unicode calls these printable, and yet nothing is to be seen of them: fillers, blanks, selectors of variants."""
_COMMAND = re.compile(r"##(?=\w*\[)|\A\s*::")
"""What the log of a CI job takes for a command: a line that begins with `::`, and `##[error]` or `##vso[` anywhere."""


def clean(text: str, most: int = MOST_CHARACTERS) -> str:
    """The text as no terminal, page or log can be harmed by it: what every border takes, besides its own escapes.

    It is on one line, with single spaces. What is not seen or turns the direction of reading (control characters,
    U+202E, what has no width, half a surrogate pair) becomes a replacement mark, and commands of CI logs are broken
    up. What is longer than `most` characters loses its middle, so that a sentence keeps its end.
    """
    if len(text) > 4 * most:  # the rest would take its time over megabytes
        text = f"{text[: 2 * most]}{text[-2 * most :]}"
    text = " ".join(text.split())
    if not text.isprintable():
        text = "".join(char if char.isprintable() else MARK for char in text)
    text = _INVISIBLE.sub(MARK, text)
    if len(text) > most:
        head = 2 * most // 3
        text = f"{text[:head]}{_CUT}{text[len(_CUT) + head - most :]}"
    return without_commands(text)


def without_commands(line: str) -> str:
    """The line as the log of a CI job only shows it. Text that was clean may begin a line once it is wrapped."""
    return _COMMAND.sub(lambda match: match[0].replace("##", "# #").replace("::", ": :"), line)


def encoded_json(content: Any) -> bytes:
    """JSON to be saved or shown, over several lines. What is no Unicode, as a file's name need not be, becomes `?`."""
    try:
        encoded = msgspec.json.encode(content)
    except UnicodeEncodeError:
        encoded = msgspec.json.encode(_valid(msgspec.to_builtins(content)))
    return msgspec.json.format(encoded) + b"\n"


def _valid(content: Any) -> Any:
    match content:
        case str():
            return content.encode(errors="replace").decode()
        case list() | tuple():
            return [_valid(one) for one in content]
        case dict():
            return {_valid(name): _valid(value) for name, value in content.items()}
    return content
