"""Numbers, and text from outside, as they are shown."""

from __future__ import annotations


def significant(value: float) -> str:
    """A number with about four significant digits."""
    if value >= 1000:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 100 else f"{value:.2f}" if value >= 10 else f"{value:.3f}"


def milliseconds(value: float) -> str:
    """A time in milliseconds, without its unit."""
    return significant(value)


def one_line(text: str) -> str:
    """Text on one line: runs of white space become one space, and invisible characters a replacement mark."""
    return "".join(char if char.isprintable() else "\ufffd" for char in " ".join(text.split()))


def counted(number: int, noun: str) -> str:
    """`1 stream`, `1,204 streams`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
