"""The official client, unchanged."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

_MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hi"}]
_TOOLS: list[ChatCompletionToolParam] = [
    {
        "type": "function",
        "function": {"name": "weather", "description": "of a city", "parameters": {"type": "object", "properties": {}}},
    }
]


@pytest.fixture
def async_client(tiny_server: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{tiny_server}/v1", api_key="unused", max_retries=0)


def test_chat(openai_client: openai.OpenAI) -> None:
    answer = openai_client.chat.completions.create(
        model="tiny", messages=_MESSAGES, max_completion_tokens=7, extra_body={"min_tokens": 7}
    )
    assert len(answer.choices[0].message.content or "") == 7
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 7


def test_streamed_chat(openai_client: openai.OpenAI) -> None:
    stream = openai_client.chat.completions.create(
        model="tiny",
        messages=_MESSAGES,
        max_tokens=9,
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"min_tokens": 9},
    )
    chunks = list(stream)
    assert len("".join(c.choices[0].delta.content or "" for c in chunks if c.choices)) == 9
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 9
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "length"


def test_completion(openai_client: openai.OpenAI) -> None:
    answer = openai_client.completions.create(model="tiny", prompt=["a", "b"], max_tokens=4, logprobs=1)
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert answer.choices[0].logprobs is not None
    streamed = openai_client.completions.create(model="tiny", prompt="a", max_tokens=4, stream=True)
    assert [chunk.choices[0].finish_reason for chunk in streamed][-1] in ("length", "stop")


async def test_async_chat(async_client: openai.AsyncOpenAI) -> None:
    async with async_client as client:
        whole = await client.chat.completions.create(
            model="tiny", messages=_MESSAGES, max_tokens=8, temperature=0, logprobs=True
        )
        stream = await client.chat.completions.create(
            model="tiny", messages=_MESSAGES, max_tokens=8, temperature=0, stream=True
        )
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert text == whole.choices[0].message.content
    assert whole.choices[0].logprobs is not None
    assert whole.choices[0].logprobs.content is not None


def test_a_conversation_with_tools(openai_client: openai.OpenAI) -> None:
    """The tools reach the prompt, and a conversation that contains calls and results is taken."""
    bare = openai_client.chat.completions.create(model="tiny", messages=_MESSAGES, max_tokens=1)
    with_tools = openai_client.chat.completions.create(model="tiny", messages=_MESSAGES, max_tokens=1, tools=_TOOLS)
    without = openai_client.chat.completions.create(
        model="tiny", messages=_MESSAGES, max_tokens=1, tools=_TOOLS, tool_choice="none"
    )
    conversation: list[ChatCompletionMessageParam] = [
        *_MESSAGES,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    ]
    longer = openai_client.chat.completions.create(model="tiny", messages=conversation, max_tokens=1, tools=_TOOLS)
    counts = [answer.usage.prompt_tokens for answer in (bare, without, with_tools, longer) if answer.usage]
    assert counts[0] == counts[1] < counts[2] < counts[3]


def test_models(openai_client: openai.OpenAI) -> None:
    assert [model.id for model in openai_client.models.list()] == ["tiny"]
    assert openai_client.models.retrieve("tiny").id == "tiny"


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"model": "nope"}, openai.NotFoundError),
        ({"temperature": 9}, openai.BadRequestError),
        ({"tool_choice": "sometimes"}, openai.UnprocessableEntityError),
    ],
)
def test_errors_are_the_clients_own(
    openai_client: openai.OpenAI, fields: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        openai_client.chat.completions.create(**{"model": "tiny", "messages": _MESSAGES, **fields})
    assert isinstance(caught.value, openai.APIStatusError)
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["code"]
