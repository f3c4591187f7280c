"""The Hermes format, which Qwen and others share: `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`."""

from __future__ import annotations

from .calls import ParsedToolCall, decode_calls
from .marked import MarkedCallParser, begun

_OPEN = "<tool_call>"
_CLOSE = "</tool_call>"
MARKERS = (_OPEN, _CLOSE)


def hermes_parser() -> MarkedCallParser:
    """Of one answer. Models often end within the closing tag or right before; such a call counts."""
    return MarkedCallParser(_OPEN, _TaggedExtent, _parse)


class _TaggedExtent:
    """Up to the closing tag, which may be cut anywhere."""

    def __init__(self) -> None:
        self._tail = ""
        """The end of the last piece, in which a closing tag may have begun."""

    def end(self, text: str, position: int) -> int | None:
        """See `Extent.end`."""
        seam = self._tail + text[position : position + len(_CLOSE) - 1]
        if (found := seam.find(_CLOSE)) >= 0:
            return position + found + len(_CLOSE) - len(self._tail)
        if (found := text.find(_CLOSE, position)) >= 0:
            return found + len(_CLOSE)
        self._tail = (self._tail + text[max(position, len(text) - len(_CLOSE)) :])[1 - len(_CLOSE) :]
        return None


def _parse(whole: str) -> list[ParsedToolCall] | None:
    body = whole.removeprefix(_OPEN)
    return decode_calls(body.removesuffix(_CLOSE) if body.endswith(_CLOSE) else body[: len(body) - begun(body, _CLOSE)])
