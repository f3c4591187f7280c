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
    """Splits a stream into text and tool calls. What looks like a call but is not valid JSON stays text."""

    def __init__(self) -> None:
        self._buffer = ""
        self.num_calls = 0

    def add(self, text: str) -> tuple[str, list[ParsedToolCall]]:
        """Text that is certainly not part of a call, and the calls completed by `text`."""
        self._buffer += text
        content = ""
        calls: list[ParsedToolCall] = []
        while True:
            start = self._buffer.find(_OPEN)
            if start < 0:
                end = len(self._buffer) - held_back(self._buffer, (_OPEN,))
                content += self._buffer[:end]
                self._buffer = self._buffer[end:]
                break
            content += self._buffer[:start]
            self._buffer = self._buffer[start:]
            end = self._buffer.find(_CLOSE)
            if end < 0:
                break
            call = _parse(self._buffer[len(_OPEN) : end])
            whole, self._buffer = self._buffer[: end + len(_CLOSE)], self._buffer[end + len(_CLOSE) :]
            if call is None:
                content += whole
            else:
                calls.append(call)
        self.num_calls += len(calls)
        # Line breaks between calls are markup, not something the assistant says.
        return ("" if self.num_calls and not content.strip() else content), calls

    def flush(self) -> tuple[str, list[ParsedToolCall]]:
        """The rest when the stream ends. Models often end right before the closing tag; that call counts."""
        rest, self._buffer = self._buffer, ""
        call = _parse(rest[len(_OPEN) :]) if rest.startswith(_OPEN) else None
        if call is None:
            return ("" if self.num_calls and not rest.strip() else rest), []
        self.num_calls += 1
        return "", [call]


class _HermesCall(msgspec.Struct):
    name: str
    arguments: msgspec.Raw = msgspec.Raw(b"{}")


def _parse(body: str) -> ParsedToolCall | None:
    try:
        call = msgspec.json.decode(body, type=_HermesCall)
        arguments = msgspec.json.decode(call.arguments)
    except msgspec.DecodeError:
        return None
    # Some models write the arguments as a string of JSON already.
    return ParsedToolCall(call.name, arguments if isinstance(arguments, str) else bytes(call.arguments).decode())
