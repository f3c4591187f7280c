"""Responses."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ...protocol.fields import PositiveInt
from ...server.front.json_bodies import decode_json
from .api import MODEL, Asked, Outcome, named_event, words_of

_FAILURES = ("length", "content_filter")
"""Finish reasons of answers that are not complete."""


class _Request(msgspec.Struct):
    input: str | Annotated[list[Any], Meta(min_length=1)]
    instructions: str | None = None
    max_output_tokens: PositiveInt | None = None
    stream: bool | None = None


_decoder = msgspec.json.Decoder(_Request)
_PLACE = {"item_id": "msg_null", "output_index": 0, "content_index": 0}


class ResponsesNull:
    """See `NullApi`."""

    path = "/v1/responses"

    def asked(self, raw: bytes) -> Asked:
        body = decode_json(raw, _decoder)
        return Asked(words_of(body.instructions, body.input), body.max_output_tokens, bool(body.stream))

    def begin(self) -> bytes:
        created = {"type": "response.created", "sequence_number": 0, "response": _response("in_progress", [])}
        item = _message("", "in_progress") | {"content": []}
        added = {"type": "response.output_item.added", "sequence_number": 1, "output_index": 0, "item": item}
        part = {"type": "response.content_part.added", "sequence_number": 2, **_PLACE, "part": _text("")}
        return b"".join(map(named_event, [created, added, part]))

    def tokens(self, text: str) -> bytes:
        return named_event(
            {"type": "response.output_text.delta", "sequence_number": 3, **_PLACE, "delta": text, "logprobs": []}
        )

    def end(self, outcome: Outcome, *, has_usage: bool) -> bytes:
        response = _final(outcome)
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
    status = "incomplete" if reason in _FAILURES else "completed" if reason == "stop" else "failed"
    usage = {
        "input_tokens": outcome.prompt_tokens,
        "input_tokens_details": {"cached_tokens": outcome.cached_tokens},
        "output_tokens": outcome.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": outcome.prompt_tokens + outcome.output_tokens,
    }
    cut_by = {"reason": "max_output_tokens" if reason == "length" else reason} if status == "incomplete" else None
    error = {"code": "server_error", "message": f"{reason} on purpose (--finish-reason)"}
    return _response(status, [_message(outcome.text, status)]) | {
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


def _text(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
