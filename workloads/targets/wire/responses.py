"""The Responses API (https://platform.openai.com/docs/api-reference/responses), as OpenAI and vLLM have it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum, auto
from functools import lru_cache
from typing import Any

import msgspec

from ....engine.protocol.conversation import ChatMessage
from ...http.events import ERROR_EVENT, ServerSentEvent
from ..target import Call
from .api import AnswerReader, Piece, RequestSettings, TokenCounts, exact_length
from .content import add_content
from .end_mark import is_end_mark
from .failures import error_message
from .fields import nested, says_something
from .message_text import leading_system_text, message_text
from .names import API_PATHS

_CALLS = frozenset(("function_call", "custom_tool_call", "mcp_call"))
_LAST_STATUSES = frozenset(("completed", "incomplete", "failed", "cancelled"))
"""Also the names of the events that end an answer."""
_FINISH_REASONS = {"completed": "stop", "incomplete": "length", "max_output_tokens": "length"}
"""In the words of chat completions. vLLM says no more than `incomplete`."""


class _Content(Enum):
    TEXT = auto()
    REASONING = auto()
    OTHER = auto()
    """Calls of tools, refusals."""


class _Item(msgspec.Struct):
    """Of an output: a message, a reasoning, or a call."""

    type: str = ""
    content: Any = None
    summary: Any = None
    name: Any = None
    arguments: Any = None
    input: Any = None


class _IncompleteDetails(msgspec.Struct):
    reason: str | None = None


class _Response(msgspec.Struct):
    """The part of it that matters for timing. Everything else is skipped unparsed."""

    status: str | None = None
    output: list[_Item] | msgspec.UnsetType | None = msgspec.UNSET
    usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()
    incomplete_details: _IncompleteDetails | None = None


class _Event(msgspec.Struct):
    type: str = ""
    delta: Any = None
    text: Any = None
    refusal: Any = None
    arguments: Any = None
    input: Any = None
    code: Any = None
    item: _Item | None = None
    response: _Response | None = None
    error: msgspec.Raw = msgspec.Raw()


_event_decoder = msgspec.json.Decoder(_Event)
_response_decoder = msgspec.json.Decoder(_Response)


class ResponsesApi:
    """See `Api`."""

    name = "responses"
    path = API_PATHS[name]

    def headers(self, api_key: str | None) -> dict[str, str]:
        return {}

    def body(self, call: Call, settings: RequestSettings) -> dict[str, Any]:
        """There is no seed in this API; answers are greedy without one."""
        instructions, messages = leading_system_text(call.messages)
        body: dict[str, Any] = {
            "model": settings.model,
            "input": list(_input_items(messages)),
            settings.max_tokens_field or "max_output_tokens": call.max_tokens,
            "temperature": 0.0,
            "stream": True,
            # A server that keeps answers does work, and fills up, for nothing.
            "store": False,
        }
        if instructions:
            body["instructions"] = instructions
        return body | exact_length(call, settings)

    def reader(self) -> AnswerReader:
        return _Reader()

    def counts(self, usage: Mapping[str, Any]) -> TokenCounts:
        return TokenCounts(
            prompt=usage.get("input_tokens"),
            cached=nested(usage, "input_tokens_details").get("cached_tokens"),
            output=usage.get("output_tokens"),
            reasoning=nested(usage, "output_tokens_details").get("reasoning_tokens"),
        )


class _Reader:
    """See `AnswerReader`.

    Content comes in deltas, again as a whole when a part of it is done, and once more with the response at the end.
    Some servers leave out the deltas, or all but the end: what has not come before is taken from there.
    """

    def __init__(self) -> None:
        self._in_deltas: set[_Content] = set()
        self._seen: set[_Content] = set()
        self._has_calls = False

    def read_event(self, event: ServerSentEvent) -> Piece:
        if is_end_mark(event.data):
            return Piece(is_end=True)
        if event.name == ERROR_EVENT:
            return Piece(error=error_message(event.data))
        said = _event_decoder.decode(event.data)
        kind = said.type or event.name
        if kind.endswith(".delta"):
            return self._content(_content_of(kind), said.delta, self._in_deltas)
        if kind == ERROR_EVENT or says_something(said.error):
            return Piece(error=error_message(event.data))
        how = kind.removeprefix("response.")
        if how in _LAST_STATUSES or (said.response is not None and said.response.status in _LAST_STATUSES):
            return self._end(said.response or _Response(), how)
        if kind.endswith(".done"):
            return self._done(_content_of(kind), said)
        if kind == "response.output_item.added":
            return self._begin_item(said.item)
        # New kinds of events may come at any time. What is no event of this API may be anything.
        return Piece(is_in_doubt=not kind)

    def read_whole(self, body: bytes) -> Piece:
        response = _response_decoder.decode(body)
        if response.output is msgspec.UNSET and response.status is None:
            has_failed = says_something(response.error)
            return Piece(error=error_message(body) if has_failed else None, is_in_doubt=not has_failed)
        return self._end(response, "completed")

    def _content(self, content: _Content, text: Any, seen: set[_Content]) -> Piece:
        if not isinstance(text, str):
            return Piece(is_in_doubt=text is not None)
        if not text:
            return Piece()
        seen.add(content)
        self._seen.add(content)
        match content:
            case _Content.TEXT:
                return Piece(text=text)
            case _Content.REASONING:
                return Piece(reasoning=text)
        return Piece(num_other_chars=len(text))

    def _done(self, content: _Content, said: _Event) -> Piece:
        if content in self._in_deltas:
            return Piece()
        for whole in (said.text, said.refusal, said.arguments, said.input, said.code):
            if whole is not None:
                return self._content(content, whole, self._seen)
        return Piece()

    def _begin_item(self, item: _Item | None) -> Piece:
        """A call begins with its name, which the model has written."""
        if item is None or not item.type.endswith("_call"):
            return Piece()
        self._has_calls = self._has_calls or item.type in _CALLS
        return Piece(num_other_chars=len(item.name) if isinstance(item.name, str) else 0)

    def _end(self, response: _Response, how: str) -> Piece:
        """The last event, or an answer that is no stream. `how` it ends, where its status does not say so."""
        status = response.status if response.status in _LAST_STATUSES else how
        if status == "failed":
            reason = error_message(b'{"error":%s}' % bytes(response.error)) if says_something(response.error) else ""
            return Piece(usage=bytes(response.usage), is_end=True, error=reason or "the response failed")
        piece = self._not_seen(_whole_output(response.output or ()))
        piece.usage, piece.is_end = bytes(response.usage), True
        self._has_calls = self._has_calls or any(item.type in _CALLS for item in response.output or ())
        details = response.incomplete_details
        reason = (details.reason if details is not None else None) or status
        if status == "completed" and self._has_calls:
            reason = "tool_calls"
        piece.finish_reason = _FINISH_REASONS.get(reason, reason)
        return piece

    def _not_seen(self, whole: Piece) -> Piece:
        """Of all the content, what has not come before."""
        return Piece(
            text="" if _Content.TEXT in self._seen else whole.text,
            reasoning="" if _Content.REASONING in self._seen else whole.reasoning,
            num_other_chars=0 if _Content.OTHER in self._seen else whole.num_other_chars,
            is_in_doubt=whole.is_in_doubt and not self._seen,
        )


@lru_cache(maxsize=64)
def _content_of(event: str) -> _Content:
    """What kind of content an event has, by its name."""
    if event.startswith("response.output_text."):
        return _Content.TEXT
    return _Content.REASONING if event.startswith("response.reasoning") else _Content.OTHER


def _whole_output(items: Sequence[_Item]) -> Piece:
    piece = Piece()
    for item in items:
        if item.type in ("message", "reasoning"):
            add_content(piece, item.content or item.summary, is_reasoning=item.type == "reasoning")
        else:
            for value in (item.name, item.arguments, item.input):
                piece.num_other_chars += len(value) if isinstance(value, str) else 0
    return piece


def _input_items(messages: Sequence[ChatMessage]) -> Iterator[dict[str, Any]]:
    for message in messages:
        text = message_text(message)
        if message.role == "tool":
            yield {"type": "function_call_output", "call_id": message.tool_call_id or "", "output": text}
        elif text or not message.tool_calls:
            yield {"role": message.role, "content": text}
        for call in message.tool_calls or ():
            function = call.function
            yield {
                "type": "function_call",
                "call_id": call.id,
                "name": function.name,
                "arguments": function.arguments,
            }
