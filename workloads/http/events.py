"""The grammar of server-sent events, as https://html.spec.whatwg.org/multipage/server-sent-events.html defines it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from .faults import TOO_MUCH, RefusedError
from .limits import EVENT_BYTES

ERROR_EVENT = "error"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_END_OF_STREAM = b"[DONE]"
_LF, _CR = b"\n\r"
"""As numbers: to find them takes a seventh of the time."""


class ServerSentEvent(msgspec.Struct, frozen=True, gc=False):
    """An event: its name (`event:`; empty where it has none) and its data, whose lines are joined by LF."""

    name: str
    data: bytes


class EventReader:
    """Cuts a stream into events, whichever way it comes in pieces, and whichever of LF, CR LF and CR ends its lines.

    It departs from the standard in three ways. A last event without the blank line counts. A line `error: {...}`, as
    llama.cpp writes it, is an event of that name. And where a line of data ends with a closing brace and the next one
    begins with an opening one, or with `[DONE]`, no JSON could go on like that: these are two events of a server that
    leaves out the blank line.
    """

    def __init__(self, most_bytes: int = EVENT_BYTES) -> None:
        self._most_bytes = most_bytes
        self._rest = bytearray()
        """The line that is not complete yet."""
        self._name = ""
        self._data: list[bytes] = []
        """Lines of the event that is not complete yet, and how many bytes they took."""
        self._num_bytes = 0
        self._is_first = True
        self._is_between_events = False
        self._ended_with_cr = False

    def take(self, data: bytes) -> Sequence[ServerSentEvent]:
        """The events that are complete now.

        Raises:
            RefusedError: one is too long.
        """
        if self._ended_with_cr and data:
            # The line that this CR ended is complete. LF, if it comes, belongs to it.
            self._ended_with_cr = False
            data = data.removeprefix(b"\n")
        events: list[ServerSentEvent] = []
        if self._is_between_events and _CR not in data:
            data = self._take_whole_events(data, events)
        if data:
            self._take_lines(data, events)
            self._is_between_events = not (self._rest or self._data or self._name)
        return events

    def finish(self) -> Sequence[ServerSentEvent]:
        """The event that the end of the stream completes, if any."""
        events: list[ServerSentEvent] = []
        if self._rest:
            line = bytes(self._rest)
            self._rest.clear()
            self._take_line(line.removeprefix(_BYTE_ORDER_MARK) if self._is_first else line, events)
        self._dispatch(events)
        return events

    def _take_whole_events(self, data: bytes, events: list[ServerSentEvent]) -> bytes:
        """Take the events that begin and end in `data`, the usual case in a third of the time; the rest of `data`."""
        blocks = data.split(b"\n\n")
        rest = blocks.pop()
        for block in blocks:
            if block[:6] == b"data: " and _LF not in block and len(block) <= self._most_bytes:
                events.append(ServerSentEvent("", block[6:]))
            else:
                for line in block.split(b"\n"):
                    self._take_line(line, events)
                self._dispatch(events)
        return rest

    def _take_lines(self, data: bytes, events: list[ServerSentEvent]) -> None:
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        if not end:
            self._rest += data
            if len(self._rest) + self._num_bytes > self._most_bytes:
                self._refuse()
            return
        self._ended_with_cr = data[end - 1] == _CR and end == len(data)
        if self._rest:
            data, end = bytes(self._rest) + data, len(self._rest) + end
            self._rest.clear()
        lines = data[:end].splitlines()
        self._rest += data[end:]
        if self._is_first:
            self._is_first = False
            lines[0] = lines[0].removeprefix(_BYTE_ORDER_MARK)
        for line in lines:
            self._take_line(line, events)

    def _take_line(self, line: bytes, events: list[ServerSentEvent]) -> None:
        if not line:
            self._dispatch(events)
            return
        self._num_bytes += len(line)
        if self._num_bytes > self._most_bytes:
            self._refuse()
        field, _, value = line.partition(b":")
        if field == b"data":
            value = value.removeprefix(b" ")
            if self._data and self._data[-1].endswith(b"}") and value.startswith((b"{", _END_OF_STREAM)):
                self._dispatch(events)
            self._data.append(value)
        elif field == b"event":
            self._name = value.removeprefix(b" ").decode(errors="replace")
        elif field == b"error":
            self._name = ERROR_EVENT
            self._data.append(value.removeprefix(b" "))

    def _dispatch(self, events: list[ServerSentEvent]) -> None:
        if self._data or self._name == ERROR_EVENT:
            events.append(ServerSentEvent(self._name, b"\n".join(self._data)))
            self._data.clear()
        self._name, self._num_bytes = "", 0

    def _refuse(self) -> None:
        raise RefusedError(TOO_MUCH, f"an event of more than {self._most_bytes:,} bytes")
