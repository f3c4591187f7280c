"""Answers of the Completions API."""

from __future__ import annotations

from typing import Any

import pytest
from support.transcripts import Event, Said, check_json, check_stream


def _chunk(reason: str | None = None, **choice: Any) -> Event:
    return {"object": "text_completion", "choices": [{"index": 0, "finish_reason": reason, **choice}]}


COMPLETIONS: dict[str, tuple[list[Event], Said]] = {
    "text": (
        [
            _chunk(text="a"),
            _chunk(text=" b"),
            _chunk("length", text=" c"),
            {"choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": 3}},
            b"data: [DONE]\n\n",
        ],
        Said(text="a b c", finish_reason="length", counts=(20, None, 3, None), num_arrivals=3),
    ),
    "the chunks of chat": (
        [_chunk(delta={"content": "a"}), _chunk("stop", delta={}), b"data: [DONE]\n\n"],
        Said(text="a", finish_reason="stop", num_arrivals=1),
    ),
    "an error in the middle": (
        [_chunk(text="a"), {"error": {"message": "out of memory", "type": "x", "code": 500}}],
        Said(text="a", error="server_error", message="out of memory"),
    ),
}


@pytest.mark.parametrize("name", COMPLETIONS)
def test_a_stream(name: str) -> None:
    check_stream("completions", *COMPLETIONS[name])


_WHOLE: dict[str, tuple[Any, Said]] = {
    "a completion": (
        {"choices": [{"text": "a b c", "finish_reason": "length"}], "usage": {"completion_tokens": 3}},
        Said(text="a b c", finish_reason="length", counts=(None, None, 3, None), num_arrivals=1),
    ),
}


@pytest.mark.parametrize("name", _WHOLE)
def test_json_in_place_of_a_stream(name: str) -> None:
    check_json("completions", *_WHOLE[name])
