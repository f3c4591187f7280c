"""A call of a tool, how a parser is used, and what is read as a call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import msgspec


@dataclass(frozen=True, slots=True)
class ParsedToolCall:
    """A call the model made. `arguments` is the text of a JSON object, as OpenAI's API has it."""

    name: str
    arguments: str


class ToolCallParser(Protocol):
    """Splits one answer's text, as it streams, into what the assistant says and the tools it calls.

    What looks like a call but is none stays text: nothing is lost.
    """

    num_calls: int
    """Calls so far."""

    def add(self, text: str) -> tuple[str, list[ParsedToolCall]]:
        """Text that is certainly not part of a call, and the calls completed by `text`."""

    def flush(self) -> tuple[str, list[ParsedToolCall]]:
        """The rest, when no more text comes."""


def parse_whole(parser: ToolCallParser, text: str) -> tuple[str, list[ParsedToolCall]]:
    """What a whole answer says, and the tools it calls."""
    content, calls = parser.add(text)
    rest, last_calls = parser.flush()
    return content + rest, calls + last_calls


class _WrittenCall(msgspec.Struct):
    name: str
    arguments: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    parameters: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    """Llama's word for them."""


_decoder = msgspec.json.Decoder(_WrittenCall)
_list_decoder = msgspec.json.Decoder(list[_WrittenCall])
_object_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
"""Looks at the syntax alone: a number such as 1e999 is JSON, although no float holds it."""


def decode_calls(text: str, *, needs_arguments: bool = False) -> list[ParsedToolCall] | None:
    """Calls in a JSON object, or in a list of them; None if any of it is no call.

    Args:
        text: What a model wrote.
        needs_arguments: An object without arguments is no call: nothing around it says that it is one.
    """
    try:
        written = _list_decoder.decode(text) if text.lstrip().startswith("[") else [_decoder.decode(text)]
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return None
    calls = []
    for one in written:
        raw = one.arguments if isinstance(one.arguments, msgspec.Raw) else one.parameters
        if needs_arguments and not isinstance(raw, msgspec.Raw):
            return None
        call = named_call(one.name, "{}" if isinstance(raw, msgspec.UnsetType) else bytes(raw).decode())
        if call is None:
            return None
        calls.append(call)
    return calls or None


def named_call(name: str, arguments: str) -> ParsedToolCall | None:
    """A call whose arguments are JSON text, or None if they are no object. Some models quote them as a string."""
    try:
        if arguments.lstrip().startswith('"'):
            arguments = msgspec.json.decode(arguments, type=str).strip() or "{}"
        elif arguments.strip() == "null":
            arguments = "{}"
        _object_decoder.decode(arguments)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return None
    return ParsedToolCall(name, arguments) if name else None
