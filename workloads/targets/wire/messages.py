"""The Messages API (https://docs.anthropic.com/en/api/messages-streaming), as Anthropic, vLLM and llama.cpp have it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from ....engine.protocol.conversation import ChatMessage
from ...http.events import ERROR_EVENT, ServerSentEvent
from ..target import Call
from .api import AnswerReader, Piece, RequestSettings, TokenCounts, exact_length
from .end_mark import is_end_mark
from .failures import error_message
from .fields import nested, says_something, usage_object
from .message_text import json_object, message_text
from .names import API_PATHS

_VERSION = "2023-06-01"
_FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""In the words of chat completions."""
_REDACTED = "[redacted]"
"""In place of thoughts that are encrypted."""
_WITHOUT_CONTENT = frozenset(("signature_delta", "citations_delta"))
_OF_INPUT = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


class _Block(msgspec.Struct):
    """A block of content, or a delta of one."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    name: str | None = None
    stop_reason: Any = None


class _Message(msgspec.Struct):
    """The part of it that matters for timing. Everything else is skipped unparsed."""

    content: list[_Block] | msgspec.UnsetType | None = msgspec.UNSET
    stop_reason: Any = None
    usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class _Event(msgspec.Struct):
    type: str = ""
    delta: _Block | None = None
    content_block: _Block | None = None
    message: _Message | str | None = None
    """A text in errors of some gateways."""
    usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


_event_decoder = msgspec.json.Decoder(_Event)
_message_decoder = msgspec.json.Decoder(_Message)


class MessagesApi:
    """See `Api`."""

    name = "messages"
    path = API_PATHS[name]

    def headers(self, api_key: str | None) -> dict[str, str]:
        headers = {"anthropic-version": _VERSION}
        return headers if api_key is None else headers | {"x-api-key": api_key}

    def body(self, call: Call, settings: RequestSettings) -> dict[str, Any]:
        """There is no seed in this API; answers are greedy without one."""
        system = "\n\n".join([message_text(message) for message in call.messages if _is_system(message)])
        body: dict[str, Any] = {
            "model": settings.model,
            "messages": _merged([message for message in call.messages if not _is_system(message)]),
            settings.max_tokens_field or "max_tokens": call.max_tokens,
            "temperature": 0.0,
            "stream": True,
        }
        if system:
            body["system"] = system
        return body | exact_length(call, settings)

    def reader(self) -> AnswerReader:
        return _Reader()

    def counts(self, usage: Mapping[str, Any]) -> TokenCounts:
        return TokenCounts(
            prompt=_sum_of_counts([usage.get(name) for name in _OF_INPUT]),
            cached=usage.get("cache_read_input_tokens"),
            output=usage.get("output_tokens"),
            reasoning=nested(usage, "output_tokens_details").get("thinking_tokens"),
        )


class _Reader:
    """See `AnswerReader`. Token counts come in two events: of the prompt at the start, of the output at the end."""

    def __init__(self) -> None:
        self._usage: dict[str, Any] = {}

    def read_event(self, event: ServerSentEvent) -> Piece:
        if is_end_mark(event.data):
            return Piece(is_end=True)
        if event.name == ERROR_EVENT:
            return Piece(error=error_message(event.data))
        said = _event_decoder.decode(event.data)
        kind = said.type or event.name
        match kind:
            case "content_block_delta":
                return Piece(is_in_doubt=True) if said.delta is None else _content(said.delta)
            case "content_block_start":
                return Piece() if said.content_block is None else _content(said.content_block)
            case "message_delta":
                reason = None if said.delta is None else said.delta.stop_reason
                return Piece(finish_reason=_finish_reason(reason), usage=self._merged_usage(said.usage))
            case "message_start" if isinstance(said.message, _Message):
                return self._whole(said.message)
            case "message_stop":
                return Piece(is_end=True)
        if kind == ERROR_EVENT or says_something(said.error):
            return Piece(error=error_message(event.data))
        # New kinds of events may come at any time. What is no event of this API may be anything.
        return Piece(is_in_doubt=not kind)

    def read_whole(self, body: bytes) -> Piece:
        message = _message_decoder.decode(body)
        if says_something(message.error):
            return Piece(error=error_message(body))
        if message.content is msgspec.UNSET:
            return Piece(is_in_doubt=True)
        return self._whole(message)

    def _whole(self, message: _Message) -> Piece:
        """A whole answer, or the start of one, whose content is empty."""
        reason = _finish_reason(message.stop_reason)
        piece = Piece(finish_reason=reason, usage=self._merged_usage(message.usage, is_last=reason is not None))
        for block in message.content or ():
            content = _content(block)
            piece.text += content.text
            piece.reasoning += content.reasoning
            piece.num_other_chars += content.num_other_chars
        return piece

    def _merged_usage(self, raw: msgspec.Raw, *, is_last: bool = True) -> bytes:
        """All counts so far. Those of the prompt belong together; where they are all 0 the earlier ones hold.

        The start of an answer counts a token of output that is not the last.
        """
        usage = usage_object(bytes(raw))
        if usage is None:
            return bytes(raw)
        of_input = {name: usage.pop(name, None) for name in _OF_INPUT}
        if any(of_input.values()):
            self._usage |= of_input
        if is_last:
            self._usage |= {name: value for name, value in usage.items() if value is not None}
        return msgspec.json.encode(self._usage)


def _content(block: _Block) -> Piece:
    if block.text is not None:
        return Piece(text=block.text)
    if block.thinking is not None:
        return Piece(reasoning=block.thinking)
    if block.partial_json is not None:
        return Piece(num_other_chars=len(block.partial_json))
    if block.type == "redacted_thinking":
        return Piece(reasoning=_REDACTED)
    if block.name is not None:  # a call begins with its name, which the model has written
        return Piece(num_other_chars=len(block.name))
    return Piece(is_in_doubt=block.type.endswith("_delta") and block.type not in _WITHOUT_CONTENT)


def _finish_reason(reason: Any) -> str | None:
    return _FINISH_REASONS.get(str(reason), str(reason)) if reason else None


def _sum_of_counts(counts: list[Any]) -> Any:
    """Of the counts that are there; if one of them is no number, that one, to be found odd."""
    there = [count for count in counts if count is not None]
    odd = [count for count in there if type(count) not in (int, float)]
    return odd[0] if odd else sum(there) if there else None


def _is_system(message: ChatMessage) -> bool:
    """What the API has one place for, whereever it stands in the conversation."""
    return message.role in ("system", "developer")


def _merged(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    """The messages, those of a role in a row as one: the API wants all results of tools together in the next one."""
    merged: list[dict[str, Any]] = []
    for message in messages:
        role = "assistant" if message.role == "assistant" else "user"
        blocks = list(_blocks(message))
        if merged and merged[-1]["role"] == role:
            merged[-1]["content"] += blocks
        elif blocks:
            merged.append({"role": role, "content": blocks})
    for message_fields in merged:
        match message_fields["content"]:
            case [{"type": "text", "text": text}]:
                message_fields["content"] = text
    return merged


def _blocks(message: ChatMessage) -> Iterator[dict[str, Any]]:
    """A message's content. The API refuses blocks without text."""
    text = message_text(message)
    if message.role == "tool":
        yield {"type": "tool_result", "tool_use_id": message.tool_call_id or "", "content": text}
    elif text:
        yield {"type": "text", "text": text}
    for call in message.tool_calls or ():
        function = call.function
        yield {"type": "tool_use", "id": call.id, "name": function.name, "input": json_object(function.arguments)}
