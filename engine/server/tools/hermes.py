"""Tool calls in the Hermes format, `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`, out of a text stream."""

from __future__ import annotations

import msgspec

from .calls import ParsedToolCall

_OPEN = "<tool_call>"
_CLOSE = "</tool_call>"


class HermesParser:
    """Splits a stream into text and tool calls. What looks like a call but is not valid JSON stays text.

    White space right behind a call is markup, not something the assistant says, and is left out.
    """

    def __init__(self) -> None:
        self._parts: list[str] = []
        """Of a call that is not closed yet, with its opening tag; outside a call, what may become an opening tag."""
        self._tail = ""
        """The end of the last part, in which a closing tag may have begun."""
        self._is_in_call = False
        self._is_behind_call = False
        self.num_calls = 0

    def add(self, text: str) -> tuple[str, list[ParsedToolCall]]:
        """Text that is certainly not part of a call, and the calls completed by `text`."""
        content: list[str] = []
        calls: list[ParsedToolCall] = []
        position = 0
        if not self._is_in_call:
            text, self._parts = "".join([*self._parts, text]), []
        while True:
            if not self._is_in_call:
                start = text.find(_OPEN, position)
                if start < 0:
                    start = max(position, len(text) - _begun(text, _OPEN))
                    content.append(self._content(text[position:start]))
                    self._parts = [text[start:]]
                    return "".join(content), calls
                content.append(self._content(text[position:start]))
                self._is_in_call, self._parts, self._tail = True, [_OPEN], ""
                position = start + len(_OPEN)
            end = self._end_of_call(text, position)
            if end is None:
                return "".join(content), calls
            whole = "".join([*self._parts, text[position:end]])
            self._is_in_call, self._parts, position = False, [], end
            call = _parse(whole[len(_OPEN) : -len(_CLOSE)])
            if call is None:
                content.append(self._content(whole))
            else:
                calls.append(self._count(call))

    def flush(self) -> tuple[str, list[ParsedToolCall]]:
        """The rest when the stream ends. Models often end within the closing tag or right before; that call counts."""
        rest, self._parts = "".join(self._parts), []
        if self._is_in_call:
            self._is_in_call = False
            call = _parse(rest[len(_OPEN) : len(rest) - _begun(rest, _CLOSE)])
            if call is not None:
                return "", [self._count(call)]
        return self._content(rest), []

    def _end_of_call(self, text: str, position: int) -> int | None:
        """Where the closing tag ends in `text`. Without one, `text` joins the parts, and is not looked at again."""
        seam = self._tail + text[position : position + len(_CLOSE) - 1]
        if (found := seam.find(_CLOSE)) >= 0:
            return position + found + len(_CLOSE) - len(self._tail)
        if (found := text.find(_CLOSE, position)) >= 0:
            return found + len(_CLOSE)
        self._parts.append(text[position:])
        self._tail = (self._tail + text[position:])[1 - len(_CLOSE) :]
        return None

    def _count(self, call: ParsedToolCall) -> ParsedToolCall:
        self.num_calls += 1
        self._is_behind_call = True
        return call

    def _content(self, text: str) -> str:
        if self._is_behind_call:
            text = text.lstrip()
            self._is_behind_call = not text
        return text


def _begun(text: str, tag: str) -> int:
    """How many characters at the end of `text` may be the beginning of a tag."""
    return next(length for length in range(min(len(tag) - 1, len(text)), -1, -1) if text.endswith(tag[:length]))


class _HermesCall(msgspec.Struct):
    name: str
    arguments: msgspec.Raw = msgspec.Raw(b"{}")


def _parse(body: str) -> ParsedToolCall | None:
    try:
        call = msgspec.json.decode(body, type=_HermesCall)
        arguments = msgspec.json.decode(call.arguments)
    except (msgspec.DecodeError, RecursionError):
        return None
    if arguments is None:
        return ParsedToolCall(call.name, "{}")
    # Some models write the arguments as a string of JSON already.
    return ParsedToolCall(call.name, arguments if isinstance(arguments, str) else bytes(call.arguments).decode())
