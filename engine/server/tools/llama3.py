"""Llama 3's format: `{"name": ..., "parameters": {...}}` as the whole answer, or behind `<|python_tag|>`."""

from __future__ import annotations

from .calls import ParsedToolCall, decode_calls
from .marked import JsonExtent, MarkedCallParser

_TAG = "<|python_tag|>"
MARKERS = (_TAG,)


def llama3_parser() -> MarkedCallParser:
    """Of one answer. Several calls are separated by semicolons."""
    return MarkedCallParser(_TAG, _TaggedOrBareExtent, _parse, bare="{", separators=";")


class _TaggedOrBareExtent:
    """A JSON value, or a tag with one behind it. Behind the tag may be Python, which is no call."""

    def __init__(self) -> None:
        self._json: JsonExtent | None = None
        self._is_first = True

    def end(self, text: str, position: int) -> int | None:
        """See `Extent.end`."""
        if self._json is None:
            if self._is_first and text.startswith(_TAG, position):
                position += len(_TAG)
            self._is_first = False
            while position < len(text) and text[position].isspace():
                position += 1
            if position == len(text):
                return None
            if text[position] not in "{[":
                return position
            self._json = JsonExtent()
        return self._json.end(text, position)


def _parse(whole: str) -> list[ParsedToolCall] | None:
    return decode_calls(whole.removeprefix(_TAG), needs_arguments=not whole.startswith(_TAG))
