"""Text from outside in GitHub's Markdown: shown as it is, and doing nothing."""

from __future__ import annotations

import re

from ..plain_text import one_line

_BREAK = "&#8203;"
"""A space without width. GitHub looks for mentions, references and addresses in what it has rendered: escaping the
character itself does not stop it."""
_ACTIVE = re.compile(
    r"""
    (?P<escaped> [\\`*\[\]~|] | (?<![A-Za-z0-9])_ | _(?![A-Za-z0-9]) )  # emphasis, code, links, cells
    | (?P<html> [<&] )
    | (?P<dollar> \$ )  # mathematics
    | (?P<broken> [@#] | GH-(?=\d) | :(?=//|[a-z0-9_+-]+:) | www(?=\.) )  # mentions, references, addresses, emoji
    """,
    re.VERBOSE | re.IGNORECASE,
)
_HTML = {"<": "&lt;", "&": "&amp;"}
"""`>` does nothing where no tag was opened, and `->` stays legible in the source, which mails show."""
_MOST_CHARACTERS = 400
_NOT_IN_CODE = re.compile(r"[`|\\]")


def escaped(text: str) -> str:
    """A text to stand within a line, a table's cell or HTML."""
    return _ACTIVE.sub(_escape, _printable(text))


def code(text: str) -> str:
    """The same as code, where it can be: `|` and backquotes have rules of their own there, which differ in tables."""
    shown = _printable(text)
    return f"`{shown}`" if shown and not _NOT_IN_CODE.search(shown) else escaped(text)


def _escape(match: re.Match[str]) -> str:
    found = match[0]
    if match["escaped"]:
        return f"\\{found}"
    if match["html"]:
        return _HTML[found]
    return "<span>$</span>" if match["dollar"] else f"{found}{_BREAK}"


def _printable(text: str) -> str:
    """On one line, without what is not seen or turns the direction of reading, and of bounded length."""
    shown = "".join(char if char.isprintable() else "\ufffd" for char in one_line(text))
    return shown if len(shown) <= _MOST_CHARACTERS else f"{shown[:_MOST_CHARACTERS]}..."
