"""Times and text from outside as they are shown."""

from __future__ import annotations


def milliseconds(value: float) -> str:
    """A time with about four significant digits, in milliseconds."""
    if value >= 1000:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 100 else f"{value:.2f}" if value >= 10 else f"{value:.3f}"


def one_line(text: str) -> str:
    """Text on one line: runs of white space become one space, and invisible characters a replacement mark."""
    return "".join(char if char.isprintable() else "\ufffd" for char in " ".join(text.split()))
