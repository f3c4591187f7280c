"""What an API is to the null server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from ..tool_calls import CallPart, NullCall

MODEL = "null"
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for. `words`: of the prompt, each of them a token. `max_tokens`: None where it says nothing.

    `has_usage`: token counts are to follow a stream, in APIs that leave the choice. `tools`: names of those that the
    answer may call.
    """

    words: Sequence[str]
    max_tokens: int | None
    is_stream: bool
    has_usage: bool = True
    tools: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an answer came to: a text, or calls of tools. `finish_reason` is in the words of chat completions."""

    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    finish_reason: str
    text: str
    calls: Sequence[NullCall] = ()


class NullApi(Protocol):
    """One of the APIs. It has no state."""

    @property
    def path(self) -> str:
        """Where it lies, such as `/v1/responses`."""

    def asked(self, raw: bytes) -> Asked:
        """What a request asks for.

        Raises:
            RequestError: it is none.
        """

    def begin(self, *, is_text: bool) -> bytes:
        """The events of a stream before the first token. `is_text`: of text, not of calls."""

    def tokens(self, text: str) -> bytes:
        """The event for some tokens of text."""

    def call_part(self, part: CallPart) -> bytes:
        """The events for some tokens of a call. Never called where requests bring no tools."""

    def end(self, outcome: Outcome, *, has_usage: bool) -> bytes:
        """The events behind the last token."""

    def whole(self, outcome: Outcome) -> bytes:
        """An answer that is no stream."""


def event(fields: Any) -> bytes:
    """A server-sent event without a name."""
    return b"data: " + _encoder.encode(fields) + b"\n\n"


def named_event(fields: dict[str, Any]) -> bytes:
    """A server-sent event whose name is its type."""
    return f"event: {fields['type']}\n".encode() + event(fields)


def words_of(*texts: Any) -> list[str]:
    """The words of texts, in order. What is no text has none; lists and the `text` or `content` of parts are looked
    into, as all APIs have them.
    """
    words: list[str] = []
    for text in texts:
        if isinstance(text, str):
            words += text.split()
        elif isinstance(text, list):
            words += words_of(*text)
        elif isinstance(text, dict):
            words += words_of(text.get("text"), text.get("content"), text.get("output"))
    return words


def names_of(tools: Any, choice: Any) -> list[str]:
    """Names of the tools that an answer may call: of those that the request brings, the one it chooses, or none.

    Args:
        tools: As an API has them, each with a `name`.
        choice: Likewise: a word, or an object that says its `type` and a `name`.
    """
    names = [tool["name"] for tool in tools or () if isinstance(tool, dict) and isinstance(tool.get("name"), str)]
    chosen = choice if isinstance(choice, dict) else {"type": choice}
    if chosen.get("type") == "none":
        return []
    return [chosen["name"]] if chosen.get("name") in names else names
