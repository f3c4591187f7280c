"""Finds calls behind a marker in a text that streams. Every character is looked at once, however the text is cut."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from .calls import ParsedToolCall


class Extent(Protocol):
    """How far one possible call goes, found piece by piece."""

    def end(self, text: str, position: int) -> int | None:
        """Where in `text` it ends, or stops looking like a call; None if it goes on behind `text`.

        Args:
            text: The next piece. The first one has the whole marker.
            position: Where the call begins or goes on.
        """


class MarkedCallParser:
    """See `ToolCallParser`. A format says what opens a call, how far it goes, and what it says.

    White space and separators right behind a call are markup, not something the assistant says, and are left out.

    Args:
        marker: Opens a call, wherever it stands.
        extent: Of the call that begins.
        parse: What a piece of that extent calls, if anything. It may have been cut off by the end of the answer.
        bare: Opens a call too, at the beginning of the answer or right behind a call.
        separators: Stand between two calls.
    """

    def __init__(
        self,
        marker: str,
        extent: Callable[[], Extent],
        parse: Callable[[str], list[ParsedToolCall] | None],
        *,
        bare: str = "",
        separators: str = "",
    ) -> None:
        self._marker = marker
        self._new_extent = extent
        self._parse = parse
        self._bare = bare
        self._markup = re.compile(rf"[\s{re.escape(separators)}]*")
        self._spaces = re.compile(r"\s*")
        self._extent: Extent | None = None
        """Of the call under way."""
        self._parts: list[str] = []
        """Of that call; outside one, the end of the text, which may become a marker."""
        self._may_be_bare = bool(bare)
        self._is_behind_call = False
        self.num_calls = 0

    def add(self, text: str) -> tuple[str, list[ParsedToolCall]]:
        """See `ToolCallParser.add`."""
        content: list[str] = []
        calls: list[ParsedToolCall] = []
        position = 0
        if self._extent is None:
            text, self._parts = "".join([*self._parts, text]), []
        while True:
            if self._extent is None:
                position, start, begins = self._beginning(text, position)
                content.append(text[position:start])
                position = start
                if not begins:
                    self._parts = [text[start:]]
                    return "".join(content), calls
                self._extent = self._new_extent()
            end = self._extent.end(text, position)
            if end is None:
                self._parts.append(text[position:])
                return "".join(content), calls
            said, called = self._read("".join([*self._parts, text[position:end]]))
            content.append(said)
            calls += called
            position = end

    def flush(self) -> tuple[str, list[ParsedToolCall]]:
        """See `ToolCallParser.flush`."""
        rest = "".join(self._parts)
        if self._extent is not None:
            return self._read(rest)
        self._parts = []
        return rest, []

    def _beginning(self, text: str, position: int) -> tuple[int, int, bool]:
        """Where text that is said begins and ends, and whether a call begins there."""
        if self._is_behind_call or self._may_be_bare:
            match = (self._markup if self._is_behind_call else self._spaces).match(text, position)
            behind = match.end() if match else position
            if self._is_behind_call:
                position = behind
            if self._may_be_bare and behind < len(text) and text[behind] in self._bare:
                return position, behind, True
        start = text.find(self._marker, position)
        begins = start >= 0
        if not begins:
            start = max(position, len(text) - begun(text, self._marker))
        if text[position:start].strip():
            self._is_behind_call = self._may_be_bare = False
        return position, start, begins

    def _read(self, whole: str) -> tuple[str, list[ParsedToolCall]]:
        """What a possible call says or calls."""
        self._extent, self._parts = None, []
        calls = self._parse(whole)
        self._is_behind_call = calls is not None
        self._may_be_bare = bool(self._bare) and calls is not None
        if calls is None:
            return whole, []
        self.num_calls += len(calls)
        return "", calls


def begun(text: str, tag: str) -> int:
    """How many characters at the end of `text` may be the beginning of a tag, but not all of it."""
    return next(length for length in range(min(len(tag) - 1, len(text)), -1, -1) if text.endswith(tag[:length]))


class JsonExtent:
    """Of a JSON object or list: up to the bracket that closes the first one."""

    _IN_STRING = re.compile(r'["\\]')
    _OUTSIDE = re.compile(r'["{}\[\]]')

    def __init__(self) -> None:
        self._depth = 0
        self._is_in_string = False
        self._is_escaped = False

    def end(self, text: str, position: int) -> int | None:
        """See `Extent.end`."""
        while position < len(text):
            if self._is_escaped:
                self._is_escaped = False
                position += 1
                continue
            match = (self._IN_STRING if self._is_in_string else self._OUTSIDE).search(text, position)
            if match is None:
                return None
            position = match.end()
            character = match[0]
            if character == '"':
                self._is_in_string = not self._is_in_string
            elif character == "\\":
                self._is_escaped = True
            else:
                self._depth += 1 if character in "{[" else -1
                if self._depth <= 0:
                    return position
        return None
