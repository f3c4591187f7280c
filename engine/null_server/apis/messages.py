"""Messages."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ...protocol.fields import PositiveInt
from ...server.front.json_bodies import decode_json
from ..tool_calls import CallPart, NullCall
from .api import MODEL, Asked, Outcome, named_event, names_of, words_of

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
    tools: list[Any] | None = None
    tool_choice: Any = None


_decoder = msgspec.json.Decoder(_Request)


class MessagesNull:
    """See `NullApi`."""

    path = "/v1/messages"

    def asked(self, raw: bytes) -> Asked:
        body = decode_json(raw, _decoder)
        words = words_of(body.system, body.messages)
        tools = names_of(body.tools, body.tool_choice)
        return Asked(words, body.max_tokens, bool(body.stream), tools=tools)

    def begin(self, *, is_text: bool) -> bytes:
        usage = {"input_tokens": 0, "output_tokens": 0}
        start: dict[str, Any] = {"type": "message_start", "message": _message([], None, usage)}
        blocks = [_block_start(0, {"type": "text", "text": ""})] * is_text
        return b"".join(map(named_event, [start, *blocks, {"type": "ping"}]))

    def tokens(self, text: str) -> bytes:
        return named_event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})

    def call_part(self, part: CallPart) -> bytes:
        index = part.call.index
        delta = {"type": "input_json_delta", "partial_json": part.arguments}
        start = [_block_start(index, _tool_use(part.call, {}))] * part.is_first
        stop = [_block_stop(index)] * part.is_last
        return b"".join(
            map(named_event, [*start, {"type": "content_block_delta", "index": index, "delta": delta}, *stop])
        )

    def end(self, outcome: Outcome, *, has_usage: bool) -> bytes:
        blocks = [] if outcome.calls else [_block_stop(0)]
        delta = {"stop_reason": _stop_reason(outcome), "stop_sequence": None}
        last: dict[str, Any] = {"type": "message_delta", "delta": delta, "usage": _usage(outcome)}
        return b"".join(map(named_event, [*blocks, last, {"type": "message_stop"}]))

    def whole(self, outcome: Outcome) -> bytes:
        content = [_tool_use(call, _whole_arguments(call.arguments)) for call in outcome.calls]
        content = content or [{"type": "text", "text": outcome.text}]
        return msgspec.json.encode(_message(content, _stop_reason(outcome), _usage(outcome)))


def _block_start(index: int, block: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def _block_stop(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def _tool_use(call: NullCall, arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.call_id, "name": call.name, "input": arguments}


def _whole_arguments(text: str) -> Any:
    """A whole answer is one JSON document: arguments that are no JSON can only be a text in it."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


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
