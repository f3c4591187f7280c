"""What an API is to the null server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

MODEL = "null"
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for. `words`: of the prompt, each of them a token. `max_tokens`: None where it says nothing.

    `has_usage`: token counts are to follow a stream, in APIs that leave the choice.
    """

    words: Sequence[str]
    max_tokens: int | None
    is_stream: bool
    has_usage: bool = True


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an answer came to. `finish_reason` is in the words of chat completions."""

    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    finish_reason: str
    text: str


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

    def begin(self) -> bytes:
        """The events of a stream before the first token."""

    def tokens(self, text: str) -> bytes:
        """The event for some tokens."""

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
