"""`[DONE]`, which ends the streams of many servers, whatever the API says of the end."""

from __future__ import annotations

_MARKS = frozenset((b"[DONE]", b'"[DONE]"'))
_MOST_BYTES = 16


def is_end_mark(data: bytes) -> bool:
    """Whether an event's data is the mark."""
    return len(data) < _MOST_BYTES and data.strip() in _MARKS
