"""The tiny model calls tools (`--tiny-tool-calls`): whole agent loops of the official clients, with no download."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import openai
import pytest

_PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "array", "items": {"type": "integer"}}},
    "required": ["city", "days"],
}
_TOOLS: Any = [{"type": "function", "function": {"name": "weather", "parameters": _PARAMETERS}}]
_SOME_TEXT = {"min_tokens": 3}
"""Noise may be over at once."""
_QUESTION: dict[str, Any] = {"role": "user", "content": "What is the weather?"}


def check(arguments: Any) -> None:
    assert arguments.keys() == {"city", "days"}
    assert all(isinstance(day, int) for day in arguments["days"])


@pytest.mark.parametrize("parallel", [True, False])
def test_an_agent_of_chat_completions(openai_client: openai.OpenAI, parallel: bool) -> None:
    messages: list[Any] = [_QUESTION]
    with openai_client.chat.completions.stream(
        model="tiny", messages=messages, tools=_TOOLS, parallel_tool_calls=parallel
    ) as stream:
        kinds = [event.type for event in stream]
        choice = stream.get_final_completion().choices[0]
    assert "tool_calls.function.arguments.done" in kinds
    assert "content.delta" not in kinds
    assert choice.finish_reason == "tool_calls"
    calls = choice.message.tool_calls or []
    assert len(calls) > 1 if parallel else len(calls) == 1
    assert len({call.id for call in calls}) == len(calls)
    for call in calls:
        assert call.function.name == "weather"
        check(json.loads(call.function.arguments))
    messages.append(choice.message.model_dump(include={"role", "content", "tool_calls"}))
    messages += [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in calls]
    answer = openai_client.chat.completions.create(model="tiny", messages=messages, tools=_TOOLS)
    assert answer.choices[0].finish_reason == "stop"
    assert len(answer.choices[0].message.content or "") <= 200
    assert not answer.choices[0].message.tool_calls
    assert answer.choices[0].message.content


def test_an_agent_of_responses(openai_client: openai.OpenAI) -> None:
    tools: Any = [{"type": "function", "name": "weather", "parameters": _PARAMETERS, "strict": False}]
    asked: list[Any] = [_QUESTION]
    with openai_client.responses.stream(model="tiny", input=asked, tools=tools, parallel_tool_calls=False) as stream:
        kinds = [event.type for event in stream]
        (item,) = stream.get_final_response().output
    assert {"response.function_call_arguments.delta", "response.function_call_arguments.done"} <= {*kinds}
    assert item.type == "function_call"
    check(json.loads(item.arguments))
    asked += [{"type": "function_call", "call_id": item.call_id, "name": item.name, "arguments": item.arguments}]
    asked += [{"type": "function_call_output", "call_id": item.call_id, "output": "sunny"}]
    answer = openai_client.responses.create(model="tiny", input=asked, tools=tools)
    assert [each.type for each in answer.output] == ["message"]


def test_an_agent_of_messages(messages_client: anthropic.Anthropic) -> None:
    tools: Any = [{"name": "weather", "input_schema": _PARAMETERS}]
    messages: list[Any] = [_QUESTION]
    with messages_client.messages.stream(model="tiny", max_tokens=400, messages=messages, tools=tools) as stream:
        called = stream.get_final_message()
    assert called.stop_reason == "tool_use"
    blocks: Any = called.content
    for block in blocks:
        check(block.input)
    results: list[Any] = [{"type": "tool_result", "tool_use_id": block.id, "content": "sunny"} for block in blocks]
    calls = [{"type": "tool_use", "id": block.id, "name": block.name, "input": block.input} for block in blocks]
    reminder = {"type": "text", "text": "Be brief."}
    messages += [{"role": "assistant", "content": calls}, {"role": "user", "content": [*results, reminder]}]
    answer = messages_client.messages.create(
        model="tiny", max_tokens=9, messages=messages, tools=tools, extra_body=_SOME_TEXT
    )
    assert [block.type for block in answer.content] == ["text"]


def test_seeds_and_choices(openai_client: openai.OpenAI) -> None:
    fields: Any = {"model": "tiny", "messages": [_QUESTION], "tools": _TOOLS, "n": 2, "seed": 3}
    calls = [
        [[call.function.arguments for call in choice.message.tool_calls or []] for choice in answer.choices]
        for answer in (openai_client.chat.completions.create(**fields) for _ in range(2))
    ]
    assert calls[0] == calls[1]
    assert calls[0][0] != calls[0][1]


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_that_is_cut_off_is_text_and_the_answer_says_so(openai_client: openai.OpenAI, stream: bool) -> None:
    fields: Any = {"model": "tiny", "messages": [_QUESTION], "tools": _TOOLS}
    for limit, reason in ({"max_tokens": 30}, "length"), ({"stop": "city"}, "stop"):
        if stream:
            chunks = [
                chunk.choices[0] for chunk in openai_client.chat.completions.create(**fields, **limit, stream=True)
            ]
            text = "".join(chunk.delta.content or "" for chunk in chunks)
            found = chunks[-1].finish_reason
        else:
            (choice,) = openai_client.chat.completions.create(**fields, **limit).choices
            text, found = choice.message.content or "", choice.finish_reason
        assert text.startswith('<tool_call>\n{"name": "weather"')
        assert found == reason


def test_max_tokens_behind_a_whole_call(openai_client: openai.OpenAI) -> None:
    """The second call is cut off. Who takes the answer for whole would miss it unawares."""
    fields: Any = {"model": "tiny", "messages": [_QUESTION], "tools": _TOOLS, "seed": 1, "parallel_tool_calls": True}
    whole = openai_client.chat.completions.create(**fields)
    assert whole.usage is not None
    fields["max_tokens"] = whole.usage.completion_tokens - 20
    cut = openai_client.chat.completions.create(**fields).choices[0]
    assert cut.finish_reason == "length"
    assert cut.message.tool_calls
    chunks = [*openai_client.chat.completions.create(**fields, stream=True)]
    assert chunks[-1].choices[0].finish_reason == "length"
