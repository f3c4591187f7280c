"""Answers of the Messages API."""

from __future__ import annotations

from typing import Any

import pytest
from support.transcripts import Event, Said, check_json, check_stream, read


def _delta(**fields: Any) -> Event:
    return {"type": "content_block_delta", "index": 0, "delta": fields}


def _start(**usage: Any) -> Event:
    message: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
    }
    return {"type": "message_start", "message": message | {"stop_sequence": None, "usage": usage}}


def _block(**block: Any) -> Event:
    return {"type": "content_block_start", "index": 0, "content_block": block}


def _stop(reason: str | None, **usage: Any) -> Event:
    return {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage}


_TEXT = _block(type="text", text="")
_BLOCK_END: Event = {"type": "content_block_stop", "index": 0}
_END: Event = {"type": "message_stop"}
_PING: Event = {"type": "ping"}
_ABC = [_delta(type="text_delta", text=text) for text in ("a", " b", " c")]
_OVERLOADED: Event = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}

MESSAGES: dict[str, tuple[list[Event], Said]] = {
    "text": (
        [
            _start(input_tokens=20, output_tokens=1),
            _TEXT,
            _PING,
            *_ABC,
            _BLOCK_END,
            _stop("end_turn", output_tokens=3),
            _END,
        ],
        Said(text="a b c", finish_reason="stop", counts=(20, None, 3, None), num_arrivals=3),
    ),
    "cut at max_tokens": (
        [_start(input_tokens=20, output_tokens=1), _TEXT, *_ABC, _stop("max_tokens", output_tokens=3), _END],
        Said(text="a b c", finish_reason="length", counts=(20, None, 3, None)),
    ),
    "a cache, whose tokens are no input_tokens": (
        [
            _start(input_tokens=4, cache_read_input_tokens=10, cache_creation_input_tokens=6, output_tokens=2),
            *_ABC,
            _stop("end_turn", output_tokens=3),
            _END,
        ],
        Said(text="a b c", finish_reason="stop", counts=(20, 10, 3, None)),
    ),
    "counts of the prompt at the end, as vLLM has them": (
        [
            _start(input_tokens=0, output_tokens=0),
            *_ABC,
            _stop("end_turn", input_tokens=4, cache_read_input_tokens=16, output_tokens=3),
            _END,
        ],
        Said(text="a b c", finish_reason="stop", counts=(20, 16, 3, None)),
    ),
    "counts of the prompt at both ends": (
        [
            _start(input_tokens=20, output_tokens=1),
            *_ABC,
            _stop("end_turn", input_tokens=0, cache_read_input_tokens=0, output_tokens=3),
            _END,
        ],
        Said(text="a b c", finish_reason="stop", counts=(20, None, 3, None)),
    ),
    "no counts at the end: those of the start are not of the output": (
        [
            _start(input_tokens=20, output_tokens=1),
            *_ABC,
            {"type": "message_delta", "delta": {"stop_reason": "x"}},
            _END,
        ],
        Said(text="a b c", finish_reason="x", counts=(20, None, None, None)),
    ),
    "no counts at all": (
        [
            {"type": "message_start", "message": {}},
            *_ABC,
            {"type": "message_delta", "delta": {"stop_reason": "x"}},
            _END,
        ],
        Said(text="a b c", finish_reason="x"),
    ),
    "thinking": (
        [
            _start(input_tokens=20, output_tokens=1),
            _block(type="thinking", thinking="", signature=""),
            _delta(type="thinking_delta", thinking="hm"),
            _delta(type="thinking_delta", thinking=", so"),
            _delta(type="signature_delta", signature="EqQBCgIYAhIM"),
            _BLOCK_END,
            _TEXT,
            *_ABC,
            _stop("end_turn", output_tokens=9, output_tokens_details={"thinking_tokens": 6}),
            _END,
        ],
        Said(text="a b c", reasoning="hm, so", finish_reason="stop", counts=(20, None, 9, 6), num_arrivals=5),
    ),
    "redacted thinking": (
        [_start(input_tokens=20), _block(type="redacted_thinking", data="EmwKAh"), *_ABC, _stop("end_turn"), _END],
        Said(text="a b c", reasoning="[redacted]", finish_reason="stop", counts=(20, None, None, None)),
    ),
    "a tool": (
        [
            _start(input_tokens=20, output_tokens=1),
            _block(type="tool_use", id="toolu_1", name="weather", input={}),
            _delta(type="input_json_delta", partial_json=""),
            _delta(type="input_json_delta", partial_json='{"city": '),
            _delta(type="input_json_delta", partial_json='"Paris"}'),
            _BLOCK_END,
            _stop("tool_use", output_tokens=8),
            _END,
        ],
        Said(finish_reason="tool_calls", counts=(20, None, 8, None), num_arrivals=3),
    ),
    "a refusal": (
        [_start(input_tokens=20), *_ABC, _stop("refusal", output_tokens=3), _END],
        Said(text="a b c", finish_reason="content_filter", counts=(20, None, 3, None)),
    ),
    "event types from the future": (
        [
            _start(input_tokens=20),
            {"type": "mood", "mood": 7},
            *_ABC,
            _delta(type="citations_delta", citation={}),
            _stop("end_turn"),
            _END,
        ],
        Said(text="a b c", finish_reason="stop", counts=(20, None, None, None)),
    ),
    "a delta from the future may be content": (
        [_start(input_tokens=20), *_ABC, _delta(type="dream_delta", dream="zzz"), _stop("end_turn"), _END],
        Said(text="a b c", finish_reason="stop", counts=(20, None, None, None), malformed=1),
    ),
    "names without types": (
        [b'event: content_block_delta\ndata: {"delta":{"text":"a"}}\n\n', _stop("end_turn", output_tokens=1), _END],
        Said(text="a", finish_reason="stop", counts=(None, None, 1, None)),
    ),
    "[DONE] in place of message_stop": (
        [_start(input_tokens=20), *_ABC, _stop("end_turn"), b"data: [DONE]\n\n"],
        Said(text="a b c", finish_reason="stop", counts=(20, None, None, None)),
    ),
    "overloaded in the middle": (
        [_start(input_tokens=20), *_ABC, _OVERLOADED],
        Said(text="a b c", counts=(20, None, None, None), error="server_error", message="Overloaded"),
    ),
    "overloaded at once": (
        [_start(input_tokens=20), _OVERLOADED],
        Said(counts=(20, None, None, None), error="server_error", message="Overloaded"),
    ),
    "broken off": (
        [_start(input_tokens=20, output_tokens=1), *_ABC],
        Said(text="a b c", counts=(20, None, None, None), error="disconnected"),
    ),
    "nothing": (
        [_start(input_tokens=20), _stop("end_turn", output_tokens=0), _END],
        Said(finish_reason="stop", counts=(20, None, 0, None), error="empty"),
    ),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_stream(name: str) -> None:
    check_stream("messages", *MESSAGES[name])


_WHOLE: dict[str, tuple[Any, Said]] = {
    "a message": (
        {
            "type": "message",
            "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "a b c"}],
            "stop_reason": "max_tokens",
            "usage": {"input_tokens": 4, "cache_read_input_tokens": 16, "output_tokens": 3},
        },
        Said(text="a b c", reasoning="hm", finish_reason="length", counts=(20, 16, 3, None), num_arrivals=1),
    ),
}


@pytest.mark.parametrize("name", _WHOLE)
def test_json_in_place_of_a_stream(name: str) -> None:
    check_json("messages", *_WHOLE[name])


def test_an_answer_of_another_api_is_not_taken_for_one() -> None:
    reply = read("messages", [b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n'] * 3)
    assert (reply.malformed_events, reply.text) == (3, [])
    assert reply.error is not None
