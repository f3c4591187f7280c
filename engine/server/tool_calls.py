"""Tool calls in the Hermes format, `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`, out of a text stream."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from .detokenizer import held_back

_OPEN = "<tool_call>"
_CLOSE = "</tool_call>"


@dataclass(frozen=True, slots=True)
class ParsedToolCall:
    """A call the model made. `arguments` is JSON text, as OpenAI's API has it."""

    name: str
    arguments: str


class ToolCallParser:
    """Splits a stream into text and tool calls. What looks like a call but is not valid JSON stays text.

    White space right behind a call is markup, not something the assistant says, and is left out.
    """

    def __init__(self) -> None:
        self._buffer = ""
        self._is_behind_call = False
        self.num_calls = 0

    def add(self, text: str) -> tuple[str, list[ParsedToolCall]]:
        """Text that is certainly not part of a call, and the calls completed by `text`."""
        self._buffer += text
        content = ""
        calls: list[ParsedToolCall] = []
        while True:
            start = self._buffer.find(_OPEN)
            if start < 0:
                start = len(self._buffer) - held_back(self._buffer, (_OPEN,))
                return content + self._take_text(start), calls
            content += self._take_text(start)
            end = self._buffer.find(_CLOSE)
            if end < 0:
                return content, calls
            call = _parse(self._buffer[len(_OPEN) : end])
            if call is None:
                content += self._take_text(end + len(_CLOSE))
            else:
                self._buffer = self._buffer[end + len(_CLOSE) :]
                calls.append(self._count(call))

    def flush(self) -> tuple[str, list[ParsedToolCall]]:
        """The rest when the stream ends. Models often end within the closing tag or right before; that call counts."""
        if self._buffer.startswith(_OPEN):
            body = self._buffer[len(_OPEN) : len(self._buffer) - held_back(self._buffer, (_CLOSE,))]
            call = _parse(body)
            if call is not None:
                self._buffer = ""
                return "", [self._count(call)]
        return self._take_text(len(self._buffer)), []

    def _count(self, call: ParsedToolCall) -> ParsedToolCall:
        self.num_calls += 1
        self._is_behind_call = True
        return call

    def _take_text(self, length: int) -> str:
        text, self._buffer = self._buffer[:length], self._buffer[length:]
        if self._is_behind_call:
            text = text.lstrip()
            self._is_behind_call = not text
        return text


class _HermesCall(msgspec.Struct):
    name: str
    arguments: msgspec.Raw = msgspec.Raw(b"{}")


def _parse(body: str) -> ParsedToolCall | None:
    try:
        call = msgspec.json.decode(body, type=_HermesCall)
        arguments = msgspec.json.decode(call.arguments)
    except msgspec.DecodeError:
        return None
    if arguments is None:
        return ParsedToolCall(call.name, "{}")
    # Some models write the arguments as a string of JSON already.
    return ParsedToolCall(call.name, arguments if isinstance(arguments, str) else bytes(call.arguments).decode())
