"""Text from outside, made fit to be shown to people."""

from __future__ import annotations


def one_line(text: str) -> str:
    """On one line, each run of white space as one space; what cannot be seen, as a terminal's commands, as a mark."""
    return "".join(char if char.isprintable() else "\ufffd" for char in " ".join(text.split()))
