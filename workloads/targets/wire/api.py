"""What an API is to the client: the body of a request, and what the events of its answer mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from ...http.events import ServerSentEvent
from ..target import Call
from .names import AUTO


@dataclass(frozen=True, slots=True)
class RequestSettings:
    """What all requests to a server have in common.

    Attributes:
        model: What the server calls it.
        takes_ignore_eos: Whether the server can be told to go on to exactly `max_tokens`.
        max_tokens_field: What the server calls that; None: as the API does.
        left_out: Fields that the server refuses.
        extra: Fields that the user wants besides; they replace others of the same name.
        api: Its name. As long as it is `AUTO`, requests are as for chat.
    """

    model: str
    takes_ignore_eos: bool = True
    max_tokens_field: str | None = None
    left_out: frozenset[str] = frozenset()
    extra: Mapping[str, Any] = field(default_factory=dict)
    api: str = AUTO


class Piece(msgspec.Struct):
    """What one event says, or a whole answer. Most of it is empty most of the time.

    Attributes:
        text: Of the answer.
        reasoning: What the model thinks aloud before it.
        num_other_chars: Of content that is neither: tool calls, refusals.
        finish_reason: Why the answer ends here.
        usage: Token counts, as JSON. Later ones replace earlier ones.
        error: The message of a failure.
        is_end: Nothing follows.
        is_in_doubt: It was understood in part: there may have been content in what was not.
    """

    text: str = ""
    reasoning: str = ""
    num_other_chars: int = 0
    finish_reason: str | None = None
    usage: bytes = b""
    error: str | None = None
    is_end: bool = False
    is_in_doubt: bool = False


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Token counts as the server gave them: any JSON, to be checked; None where there is none."""

    prompt: Any = None
    cached: Any = None
    """Of the prompt."""
    output: Any = None
    """All of them, reasoning included."""
    reasoning: Any = None


class AnswerReader(Protocol):
    """Reads one answer. It may keep in mind what came before."""

    def read_event(self, event: ServerSentEvent) -> Piece:
        """What an event says. Its data is never empty, unless it is an error by name.

        Raises:
            msgspec.DecodeError, UnicodeDecodeError, RecursionError: it is malformed.
        """

    def read_whole(self, body: bytes) -> Piece:
        """What a JSON answer says that came in place of a stream.

        Raises:
            msgspec.DecodeError, UnicodeDecodeError, RecursionError: it is malformed.
        """


class Api(Protocol):
    """One of the APIs. It has no state.

    Attributes:
        name: `chat`, `completions`, `responses` or `messages`.
        path: Where it lies, from the base (`.../v1`) on: `chat/completions`.
    """

    @property
    def name(self) -> str: ...

    @property
    def path(self) -> str: ...

    def headers(self, api_key: str | None) -> dict[str, str]:
        """Of each request, besides those that every server gets."""

    def body(self, call: Call, settings: RequestSettings) -> dict[str, Any]:
        """What to send, `left_out` and `extra` not considered: `request_body` does that."""

    def reader(self) -> AnswerReader:
        """For one answer."""

    def counts(self, usage: Mapping[str, Any]) -> TokenCounts:
        """What `Piece.usage` says, decoded."""


def exact_length(call: Call, settings: RequestSettings) -> dict[str, Any]:
    """Fields that ask for exactly `max_tokens`. No API has them, and many servers take them."""
    if not (call.ignore_eos and settings.takes_ignore_eos):
        return {}
    # min_tokens too: an ignored end-of-sequence token has no text, so it would hide a gap.
    return {"ignore_eos": True, "min_tokens": call.max_tokens}


def request_body(api: Api, call: Call, settings: RequestSettings) -> dict[str, Any]:
    """What to send."""
    body = {name: value for name, value in api.body(call, settings).items() if name not in settings.left_out}
    return body | dict(settings.extra)
