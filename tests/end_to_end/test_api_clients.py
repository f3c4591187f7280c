"""OpenAI's and Anthropic's clients against a real server, over the APIs that are made of items."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import openai
from support.servers import get

_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"job": {"enum": ["poet", "engineer"]}},
    "required": ["job"],
    "additionalProperties": False,
}


def test_responses_and_messages_say_what_chat_says(
    openai_client: openai.OpenAI, messages_client: anthropic.Anthropic
) -> None:
    """One conversation, three APIs, the same tokens; streamed and whole."""
    fields: dict[str, Any] = {"min_tokens": 9, "temperature": 0}
    hi: Any = [{"role": "user", "content": "hi"}]
    chat = openai_client.chat.completions.create(model="tiny", messages=hi, max_tokens=9, extra_body=fields)
    said = chat.choices[0].message.content
    assert chat.usage is not None
    response = openai_client.responses.create(model="tiny", input="hi", max_output_tokens=9, extra_body=fields)
    assert (response.output_text, response.status) == (said, "incomplete")
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens) == (chat.usage.prompt_tokens, 9)
    with openai_client.responses.stream(
        model="tiny", input="hi", max_output_tokens=9, extra_body=fields
    ) as response_stream:
        assert "".join(e.delta for e in response_stream if e.type == "response.output_text.delta") == said
    message = messages_client.messages.create(model="tiny", messages=hi, max_tokens=9, extra_body=fields)
    assert [block.text for block in message.content if block.type == "text"] == [said]
    usage = message.usage
    assert usage.input_tokens + (usage.cache_read_input_tokens or 0) == chat.usage.prompt_tokens
    assert (message.stop_reason, usage.output_tokens) == ("max_tokens", 9)
    with messages_client.messages.stream(model="tiny", messages=hi, max_tokens=9, extra_body=fields) as message_stream:
        assert "".join(message_stream.text_stream) == said


def test_both_answer_in_json(openai_client: openai.OpenAI, messages_client: anthropic.Anthropic) -> None:
    wanted: Any = {"format": {"type": "json_schema", "name": "person", "schema": _SCHEMA}}
    response = openai_client.responses.create(model="tiny", input="Ada", text=wanted)
    message = messages_client.messages.create(
        model="tiny",
        messages=[{"role": "user", "content": "Ada"}],
        max_tokens=200,
        output_config={"format": {"type": "json_schema", "schema": _SCHEMA}},
    )
    (block,) = message.content
    assert block.type == "text"
    for text in (response.output_text, block.text):
        assert json.loads(text)["job"] in ("poet", "engineer")


def test_both_can_be_made_to_call_a_tool(openai_client: openai.OpenAI, messages_client: anthropic.Anthropic) -> None:
    tool: Any = {"type": "function", "name": "judge", "parameters": _SCHEMA, "strict": True}
    response = openai_client.responses.create(model="tiny", input="Ada", tools=[tool], tool_choice="required")
    (item,) = response.output
    assert item.type == "function_call"
    message = messages_client.messages.create(
        model="tiny",
        messages=[{"role": "user", "content": "Ada"}],
        max_tokens=200,
        tools=[{"name": "judge", "input_schema": _SCHEMA}],
        tool_choice={"type": "tool", "name": "judge"},
    )
    (block,) = message.content
    assert block.type == "tool_use"
    assert message.stop_reason == "tool_use"
    for arguments in (json.loads(item.arguments), block.input):
        assert arguments["job"] in ("poet", "engineer")


def test_a_stop_sequence_is_named(messages_client: anthropic.Anthropic) -> None:
    """The letter that comes second, as the model is deterministic."""
    hi: Any = [{"role": "user", "content": "hi"}]
    fields: dict[str, Any] = {"min_tokens": 9, "temperature": 0}
    whole = messages_client.messages.create(model="tiny", messages=hi, max_tokens=9, extra_body=fields).content[0]
    assert whole.type == "text"
    stop = next(letter for letter in whole.text[1:] if letter.strip() and letter != whole.text[0])
    fields["min_tokens"] = 0
    message = messages_client.messages.create(
        model="tiny", messages=hi, max_tokens=9, stop_sequences=["never", stop], extra_body=fields
    )
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", stop)
    assert [block.text for block in message.content if block.type == "text"] == [whole.text.partition(stop)[0]]


def test_the_description_has_every_route(tiny_server: str) -> None:
    paths = get(f"{tiny_server}/openapi.json")[1]["paths"]
    assert {"/v1/responses", "/v1/messages", "/v1/messages/count_tokens", "/tokenize", "/detokenize"} <= set(paths)
