"""Answers of the Responses API."""

from __future__ import annotations

from typing import Any

import pytest
from support.transcripts import Event, Said, check_json, check_stream, read


def _said(kind: str, **fields: Any) -> Event:
    return {"type": f"response.{kind}", "sequence_number": 1, "item_id": "i", "output_index": 0, **fields}


def _response(
    status: str, *output: Any, reason: str | None = None, error: Any = None, usage: Any = None
) -> dict[str, Any]:
    details = None if reason is None else {"reason": reason}
    return {
        "id": "resp_1", "object": "response", "status": status, "error": error, "incomplete_details": details,
        "output": list(output), "usage": usage,
    }  # fmt: skip


_USAGE: dict[str, Any] = {
    "input_tokens": 20, "input_tokens_details": {"cached_tokens": 16}, "output_tokens": 3,
    "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 23,
}  # fmt: skip
_COUNTS = (20, 16, 3, 0)
_MESSAGE = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a b c"}]}
_THOUGHT = {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}
_CALL = {"type": "function_call", "call_id": "c", "name": "weather", "arguments": '{"city": "Paris"}'}
_CREATED = _said("created", response=_response("in_progress"))
_ADDED = _said("output_item.added", item={"type": "message", "role": "assistant", "content": []})
_DELTAS = [_said("output_text.delta", delta=text, logprobs=[]) for text in ("a", " b", " c")]
_DONE = [
    _said("output_text.done", text="a b c"),
    _said("content_part.done", part={"type": "output_text", "text": "a b c"}),
    _said("output_item.done", item=_MESSAGE),
]
_COMPLETED = _said("completed", response=_response("completed", _MESSAGE, usage=_USAGE))
_FAILURE = {"code": "server_error", "message": "the model crashed"}

RESPONSES: dict[str, tuple[list[Event], Said]] = {
    "text": (
        [_CREATED, _said("in_progress", response=_response("in_progress")), _ADDED, *_DELTAS, *_DONE, _COMPLETED],
        Said(text="a b c", finish_reason="stop", counts=_COUNTS, num_arrivals=3),
    ),
    "cut at max_output_tokens": (
        [*_DELTAS, _said("incomplete", response=_response("incomplete", reason="max_output_tokens", usage=_USAGE))],
        Said(text="a b c", finish_reason="length", counts=_COUNTS),
    ),
    "cut at max_output_tokens, as vLLM says it": (
        [*_DELTAS, _said("completed", response=_response("incomplete", _MESSAGE, usage=_USAGE))],
        Said(text="a b c", finish_reason="length", counts=_COUNTS),
    ),
    "filtered": (
        [*_DELTAS, _said("incomplete", response=_response("incomplete", reason="content_filter"))],
        Said(text="a b c", finish_reason="content_filter"),
    ),
    "no counts": (
        [*_DELTAS, _said("completed", response=_response("completed"))],
        Said(text="a b c", finish_reason="stop"),
    ),
    "no response at the end": ([*_DELTAS, _said("completed")], Said(text="a b c", finish_reason="stop")),
    "a summary of the reasoning": (
        [
            _said("output_item.added", item={"type": "reasoning", "summary": []}),
            _said("reasoning_summary_part.added", part={"type": "summary_text", "text": ""}),
            _said("reasoning_summary_text.delta", delta="hm"),
            _said("reasoning_summary_text.delta", delta=", so"),
            _said("reasoning_summary_text.done", text="hm, so"),
            *_DELTAS,
            _COMPLETED,
        ],
        Said(text="a b c", reasoning="hm, so", finish_reason="stop", counts=_COUNTS, num_arrivals=5),
    ),
    "the reasoning itself": (
        [
            _said("reasoning_text.delta", delta="hm"),
            _said("reasoning_text.done", text="hm"),
            *_DELTAS,
            _said("completed", response=_response("completed", _THOUGHT, _MESSAGE, usage=_USAGE)),
        ],
        Said(text="a b c", reasoning="hm", finish_reason="stop", counts=_COUNTS, num_arrivals=4),
    ),
    "a tool": (
        [
            _said("output_item.added", item={"type": "function_call", "name": "weather", "arguments": ""}),
            _said("function_call_arguments.delta", delta='{"city": '),
            _said("function_call_arguments.delta", delta='"Paris"}'),
            _said("function_call_arguments.done", arguments='{"city": "Paris"}'),
            _said("output_item.done", item=_CALL),
            _said("completed", response=_response("completed", _CALL, usage=_USAGE)),
        ],
        Said(finish_reason="tool_calls", counts=_COUNTS, num_arrivals=3),
    ),
    "a refusal": (
        [_said("refusal.delta", delta="No"), _said("refusal.done", refusal="No"), _said("completed")],
        Said(finish_reason="stop", num_arrivals=1),
    ),
    "events from the future": (
        [_said("mood.changed", mood=7), {"type": "keepalive"}, *_DELTAS, _COMPLETED],
        Said(text="a b c", finish_reason="stop", counts=_COUNTS, num_arrivals=3),
    ),
    "no deltas": ([*_DONE, _COMPLETED], Said(text="a b c", finish_reason="stop", counts=_COUNTS, num_arrivals=1)),
    "the end alone": (
        [_CREATED, _said("completed", response=_response("completed", _THOUGHT, _MESSAGE, usage=_USAGE))],
        Said(text="a b c", reasoning="hm", finish_reason="stop", counts=_COUNTS, num_arrivals=1),
    ),
    "reasoning in deltas, the answer at the end": (
        [
            _said("reasoning_text.delta", delta="hm"),
            _said("completed", response=_response("completed", _THOUGHT, _MESSAGE)),
        ],
        Said(text="a b c", reasoning="hm", finish_reason="stop", num_arrivals=2),
    ),
    "names without types": (
        [b'event: response.output_text.delta\ndata: {"delta":"a"}\n\n', b"event: response.completed\ndata: {}\n\n"],
        Said(text="a", finish_reason="stop"),
    ),
    "[DONE] behind the end": (
        [*_DELTAS, _COMPLETED, b"data: [DONE]\n\n"],
        Said(text="a b c", finish_reason="stop", counts=_COUNTS),
    ),
    "failed": (
        [_CREATED, *_DELTAS, _said("failed", response=_response("failed", error=_FAILURE))],
        Said(text="a b c", error="server_error", message="the model crashed"),
    ),
    "failed without a reason": (
        [_said("failed", response=_response("failed"))],
        Said(error="server_error", message="the response failed"),
    ),
    "an error in the middle": (
        [*_DELTAS, {"type": "error", "code": "rate_limit_exceeded", "message": "slow down", "param": None}],
        Said(text="a b c", error="server_error", message="slow down"),
    ),
    "an error by name": (
        [b'event: error\ndata: {"error":{"message":"slow down","type":"x"}}\n\n'],
        Said(error="server_error", message="slow down"),
    ),
    "cancelled": (
        [*_DELTAS, _said("cancelled", response=_response("cancelled"))],
        Said(text="a b c", finish_reason="cancelled", error="server_error"),
    ),
    "broken off": ([_CREATED, *_DELTAS], Said(text="a b c", error="disconnected")),
    "text that is no text": (
        [*_DELTAS, _said("output_text.delta", delta={"a": 1}), _COMPLETED],
        Said(text="a b c", finish_reason="stop", counts=_COUNTS, malformed=1),
    ),
}


@pytest.mark.parametrize("name", RESPONSES)
def test_a_stream(name: str) -> None:
    check_stream("responses", *RESPONSES[name])


_WHOLE: dict[str, tuple[Any, Said]] = {
    "a response": (
        _response("completed", _THOUGHT, _MESSAGE, usage=_USAGE),
        Said(text="a b c", reasoning="hm", finish_reason="stop", counts=_COUNTS, num_arrivals=1),
    ),
    "a call": (
        _response("completed", _CALL, usage=_USAGE),
        Said(finish_reason="tool_calls", counts=_COUNTS, num_arrivals=1),
    ),
    "a response that failed": (
        _response("failed", error=_FAILURE),
        Said(error="server_error", message="the model crashed"),
    ),
    "an error for a response": (
        {"error": {"message": "no such model", "type": "x"}},
        Said(error="server_error", message="no such model"),
    ),
}


@pytest.mark.parametrize("name", _WHOLE)
def test_json_in_place_of_a_stream(name: str) -> None:
    check_json("responses", *_WHOLE[name])


def test_an_answer_of_another_api_is_not_taken_for_one() -> None:
    reply = read("responses", [b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n'] * 3)
    assert (reply.malformed_events, reply.text) == (3, [])
    assert reply.error is not None
