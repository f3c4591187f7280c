"""Messages."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ...protocol.fields import PositiveInt
from ...server.front.json_bodies import decode_json
from .api import MODEL, Asked, Outcome, named_event, words_of

_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}


class _Request(msgspec.Struct):
    messages: Annotated[list[Any], Meta(min_length=1)]
    max_tokens: PositiveInt
    system: Any = None
    stream: bool | None = None


_decoder = msgspec.json.Decoder(_Request)


class MessagesNull:
    """See `NullApi`."""

    path = "/v1/messages"

    def asked(self, raw: bytes) -> Asked:
        body = decode_json(raw, _decoder)
        return Asked(words_of(body.system, body.messages), body.max_tokens, bool(body.stream))

    def begin(self) -> bytes:
        usage = {"input_tokens": 0, "output_tokens": 0}
        start: dict[str, Any] = {"type": "message_start", "message": _message([], None, usage)}
        block: dict[str, Any] = {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "text", "text": ""},
        }
        return b"".join(map(named_event, [start, block, {"type": "ping"}]))

    def tokens(self, text: str) -> bytes:
        return named_event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})

    def end(self, outcome: Outcome, *, has_usage: bool) -> bytes:
        block: dict[str, Any] = {"type": "content_block_stop", "index": 0}
        delta = {"stop_reason": _stop_reason(outcome), "stop_sequence": None}
        last: dict[str, Any] = {"type": "message_delta", "delta": delta, "usage": _usage(outcome)}
        return b"".join(map(named_event, [block, last, {"type": "message_stop"}]))

    def whole(self, outcome: Outcome) -> bytes:
        text = {"type": "text", "text": outcome.text}
        return msgspec.json.encode(_message([text], _stop_reason(outcome), _usage(outcome)))


def _stop_reason(outcome: Outcome) -> str:
    return _STOP_REASONS.get(outcome.finish_reason, outcome.finish_reason)


def _usage(outcome: Outcome) -> dict[str, int]:
    return {
        "input_tokens": outcome.prompt_tokens - outcome.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": outcome.cached_tokens,
        "output_tokens": outcome.output_tokens,
    }


def _message(content: list[Any], stop_reason: str | None, usage: dict[str, int]) -> dict[str, Any]:
    return {
        "id": "msg_null",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": usage,
    }
