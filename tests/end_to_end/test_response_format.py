"""Answers in JSON, over HTTP."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from support.servers import post

_MESSAGES = [{"role": "user", "content": "Describe Ada."}]
_SCHEMA = {
    "type": "object",
    "properties": {"job": {"enum": ["poet", "engineer"]}, "age": {"type": "integer", "minimum": 1, "maximum": 99}},
    "required": ["job", "age"],
    "additionalProperties": False,
}
_FORMAT: Any = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": _SCHEMA}}


def check(text: str | None) -> None:
    person = json.loads(text or "")
    assert person["job"] in ("poet", "engineer")
    assert 1 <= person["age"] <= 99


@pytest.mark.parametrize("stream", [False, True])
def test_every_answer_keeps_to_the_schema(openai_client: openai.OpenAI, stream: bool) -> None:
    fields: Any = {"model": "tiny", "messages": _MESSAGES, "n": 3, "seed": 5, "response_format": _FORMAT}
    if not stream:
        choices = openai_client.chat.completions.create(**fields).choices
        assert [choice.finish_reason for choice in choices] == ["stop"] * 3
        texts = [choice.message.content for choice in choices]
    else:
        parts = ["", "", ""]
        for chunk in openai_client.chat.completions.create(**fields, stream=True):
            for choice in chunk.choices:
                parts[choice.index] += choice.delta.content or ""
        texts = [*parts]
    for text in texts:
        check(text)
    assert len({*texts}) > 1


def test_completions_take_it_too(tiny_server: str) -> None:
    status, body, _ = post(
        f"{tiny_server}/v1/completions", {"prompt": "Ada", "max_tokens": 99, "response_format": _FORMAT}
    )
    assert status == 200, body
    check(body["choices"][0]["text"])


def test_json_that_max_tokens_cut_off(tiny_server: str) -> None:
    body = {"messages": _MESSAGES, "max_tokens": 5, "response_format": _FORMAT}
    status, answer, _ = post(f"{tiny_server}/v1/chat/completions", body)
    assert status == 200, answer
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "length"
    assert choice["message"]["content"].startswith("{")


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "person"}}])
@pytest.mark.parametrize("stream", [False, True])
def test_a_call_that_is_asked_for_is_made(openai_client: openai.OpenAI, choice: Any, stream: bool) -> None:
    tools: Any = [{"type": "function", "function": {"name": "person", "parameters": _SCHEMA}}]
    fields: Any = {"model": "tiny", "messages": _MESSAGES, "tools": tools, "tool_choice": choice}
    if stream:
        deltas = [chunk.choices[0] for chunk in openai_client.chat.completions.create(**fields, stream=True)]
        calls = [call for one in deltas for call in one.delta.tool_calls or []]
        assert deltas[-1].finish_reason == "tool_calls"
    else:
        calls = openai_client.chat.completions.create(**fields).choices[0].message.tool_calls
    (call,) = calls
    assert call.function.name == "person"
    check(call.function.arguments)
