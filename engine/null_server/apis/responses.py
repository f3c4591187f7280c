"""Responses."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ...protocol.fields import PositiveInt
from ...server.front.json_bodies import decode_json
from ..tool_calls import CallPart, NullCall
from .api import MODEL, Asked, Outcome, named_event, names_of, words_of

_FAILURES = ("length", "content_filter")
"""Finish reasons of answers that are not complete."""


class _Request(msgspec.Struct):
    input: str | Annotated[list[Any], Meta(min_length=1)]
    instructions: str | None = None
    max_output_tokens: PositiveInt | None = None
    stream: bool | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None


_decoder = msgspec.json.Decoder(_Request)
_ARGUMENTS = "response.function_call_arguments"
_MOST_EVENTS = 4
"""Of a part of a call."""
_PLACE = {"item_id": "msg_null", "output_index": 0, "content_index": 0}


class ResponsesNull:
    """See `NullApi`."""

    path = "/v1/responses"

    def asked(self, raw: bytes) -> Asked:
        body = decode_json(raw, _decoder)
        words = words_of(body.instructions, body.input)
        tools = names_of(body.tools, body.tool_choice)
        return Asked(words, body.max_output_tokens, bool(body.stream), tools=tools)

    def begin(self, *, is_text: bool) -> bytes:
        created = {"type": "response.created", "sequence_number": 0, "response": _response("in_progress", [])}
        if not is_text:
            return named_event(created)
        item = _message("", "in_progress") | {"content": []}
        added = {"type": "response.output_item.added", "sequence_number": 1, "output_index": 0, "item": item}
        part = {"type": "response.content_part.added", "sequence_number": 2, **_PLACE, "part": _text("")}
        return b"".join(map(named_event, [created, added, part]))

    def tokens(self, text: str) -> bytes:
        return named_event(
            {"type": "response.output_text.delta", "sequence_number": 3, **_PLACE, "delta": text, "logprobs": []}
        )

    def call_part(self, part: CallPart) -> bytes:
        call = part.call
        item = _function_call(call)
        place = {"item_id": item["id"], "output_index": call.index}
        begun = item | {"arguments": "", "status": "in_progress"}
        added = {"type": "response.output_item.added", "output_index": call.index, "item": begun}
        delta = {"type": f"{_ARGUMENTS}.delta", **place, "delta": part.arguments}
        arguments = {"type": f"{_ARGUMENTS}.done", **place, "name": call.name, "arguments": call.arguments}
        done = {"type": "response.output_item.done", "output_index": call.index, "item": item}
        events = [*[added] * part.is_first, delta, *[arguments, done] * part.is_last]
        first = 1 + _MOST_EVENTS * part.number  # numbers rise, with gaps
        return b"".join(named_event(each | {"sequence_number": number}) for number, each in enumerate(events, first))

    def end(self, outcome: Outcome, *, has_usage: bool) -> bytes:
        response = _final(outcome)
        if outcome.calls:
            number = 1 + _MOST_EVENTS * outcome.output_tokens
            last = {"type": f"response.{response['status']}", "sequence_number": number, "response": response}
            return named_event(last)
        done = {"type": "response.output_text.done", "sequence_number": 4, **_PLACE, "text": outcome.text}
        part = {"type": "response.content_part.done", "sequence_number": 5, **_PLACE, "part": _text(outcome.text)}
        item = {"type": "response.output_item.done", "sequence_number": 6, "output_index": 0} | {
            "item": response["output"][0]
        }
        last = {"type": f"response.{response['status']}", "sequence_number": 7, "response": response}
        return b"".join(map(named_event, [done, part, item, last]))

    def whole(self, outcome: Outcome) -> bytes:
        return msgspec.json.encode(_final(outcome))


def _final(outcome: Outcome) -> dict[str, Any]:
    """The response at its end."""
    reason = outcome.finish_reason
    status = "incomplete" if reason in _FAILURES else "completed" if reason in ("stop", "tool_calls") else "failed"
    usage = {
        "input_tokens": outcome.prompt_tokens,
        "input_tokens_details": {"cached_tokens": outcome.cached_tokens},
        "output_tokens": outcome.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": outcome.prompt_tokens + outcome.output_tokens,
    }
    cut_by = {"reason": "max_output_tokens" if reason == "length" else reason} if status == "incomplete" else None
    error = {"code": "server_error", "message": f"{reason} on purpose (--finish-reason)"}
    output = [*map(_function_call, outcome.calls)] or [_message(outcome.text, status)]
    return _response(status, output) | {
        "usage": usage,
        "incomplete_details": cut_by,
        "error": error if status == "failed" else None,
    }


def _response(status: str, output: list[Any]) -> dict[str, Any]:
    return {
        "id": "resp_null",
        "object": "response",
        "created_at": 0,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": MODEL,
        "output": output,
        "parallel_tool_calls": True,
        "temperature": 0.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": None,
    }


def _message(text: str, status: str) -> dict[str, Any]:
    return {"type": "message", "id": "msg_null", "role": "assistant", "status": status, "content": [_text(text)]}


def _function_call(call: NullCall) -> dict[str, Any]:
    return {
        "type": "function_call",
        "id": f"fc_{call.call_id}",
        "call_id": call.call_id,
        "name": call.name,
        "arguments": call.arguments,
        "status": "completed",
    }


def _text(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
