"""The Messages API as Anthropic's own client meets it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest
from abatch.engine.errors import QueueFullError
from abatch.engine.request import FinishReason
from anthropic.types import MessageParam, ToolParam
from support.scripted_server import CALL, Script, scripted_server

_HI: list[MessageParam] = [{"role": "user", "content": "hi"}]
_WEATHER: ToolParam = {"name": "weather", "input_schema": {"type": "object", "properties": {"city": {}}}}
_CALLED: dict[str, Any] = {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Rome"}}


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
async def client(script: Script) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with (
        scripted_server(script, api_key="secret") as server,
        anthropic.AsyncAnthropic(base_url=str(server.make_url("/")), api_key="secret", max_retries=0) as client,
    ):
        yield client


async def test_a_whole_answer(client: anthropic.AsyncAnthropic, script: Script) -> None:
    sampling = {"temperature": 0.5, "top_k": 7}  # newer clients know them no more
    answer = await client.messages.create(
        model="scripted", system="Be brief.", messages=_HI, max_tokens=50, extra_body=sampling
    )
    (block,) = answer.content
    assert block.type == "text"
    assert block.text == script.said
    assert (answer.role, answer.stop_reason, answer.stop_sequence) == ("assistant", "end_turn", None)
    assert answer.usage.cache_read_input_tokens == 3
    (prompt,) = script.prompts
    assert prompt.index("Be brief.") < prompt.index("hi")
    assert script.sampling is not None
    assert (script.sampling.max_tokens, script.sampling.temperature, script.sampling.top_k) == (50, 0.5, 7)
    counted = await client.messages.count_tokens(model="scripted", system="Be brief.", messages=_HI)
    assert counted.input_tokens == answer.usage.input_tokens + answer.usage.cache_read_input_tokens


async def test_calls_behind_which_more_was_cut_off(client: anthropic.AsyncAnthropic, script: Script) -> None:
    script.said, script.finish_reason = CALL, FinishReason.LENGTH
    answer = await client.messages.create(model="scripted", messages=_HI, max_tokens=5, tools=[_WEATHER])
    assert [block.type for block in answer.content] == ["tool_use"]
    assert answer.stop_reason == "max_tokens"


@pytest.mark.parametrize(
    ("finish_reason", "stop_string", "expected"),
    [
        (FinishReason.STOP, None, ("end_turn", None)),
        (FinishReason.LENGTH, None, ("max_tokens", None)),
        (FinishReason.STOP, "###", ("stop_sequence", "###")),
    ],
)
async def test_why_an_answer_ended(
    client: anthropic.AsyncAnthropic,
    script: Script,
    finish_reason: FinishReason,
    stop_string: str | None,
    expected: tuple[str, str | None],
) -> None:
    script.finish_reason, script.stop_string = finish_reason, stop_string
    answer = await client.messages.create(model="scripted", messages=_HI, max_tokens=5, stop_sequences=["###"])
    assert (answer.stop_reason, answer.stop_sequence) == expected


async def test_the_events_of_a_stream(client: anthropic.AsyncAnthropic, script: Script) -> None:
    script.said = f"One moment.{CALL}"
    stream = await client.messages.create(model="scripted", messages=_HI, max_tokens=50, tools=[_WEATHER], stream=True)
    events = [event async for event in stream]
    kinds = [event.type for event in events]
    deltas = kinds.count("content_block_delta") - 1
    assert deltas > 1
    assert kinds == [
        "message_start",
        *("content_block_start", *["content_block_delta"] * deltas, "content_block_stop"),
        *("content_block_start", "content_block_delta", "content_block_stop"),
        *("message_delta", "message_stop"),
    ]
    assert [event.index for event in events[1:-2]] == [0] * (deltas + 2) + [1] * 3  # type: ignore[union-attr]
    start, end = events[0], events[-2]
    assert start.type == "message_start"
    assert end.type == "message_delta"
    assert end.delta.stop_reason == "tool_use"
    assert start.message.usage.input_tokens == end.usage.input_tokens
    assert end.usage.output_tokens > deltas


async def test_what_a_client_accumulates_is_the_answer(client: anthropic.AsyncAnthropic, script: Script) -> None:
    script.said = f"One moment.{CALL}"
    async with client.messages.stream(model="scripted", messages=_HI, max_tokens=50, tools=[_WEATHER]) as stream:
        final = await stream.get_final_message()
    whole = await client.messages.create(model="scripted", messages=_HI, max_tokens=50, tools=[_WEATHER])
    for answer in (final, whole):
        text, call = answer.content
        assert text.type == "text"
        assert text.text == "One moment."
        assert call.type == "tool_use"
        assert (call.name, call.input) == ("weather", {"city": "Rome"})
        assert answer.stop_reason == "tool_use"


async def test_a_result_of_a_tool_reaches_the_prompt(client: anthropic.AsyncAnthropic, script: Script) -> None:
    conversation: list[Any] = [
        *_HI,
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hmm", "signature": "x"},
                {"type": "text", "text": "One moment."},
                _CALLED,
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "call_1", "content": [{"type": "text", "text": "sunny"}]},
                {"type": "text", "text": "And tomorrow?"},
            ],
        },
    ]
    await client.messages.create(model="scripted", messages=conversation, max_tokens=5, tools=[_WEATHER])
    (prompt,) = script.prompts
    positions = [prompt.index(words) for words in ("hi", "One moment.", "Rome", "sunny", "And tomorrow?")]
    assert positions == sorted(positions)
    assert "hmm" not in prompt


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        {"mcp_servers": [{"type": "url", "url": "http://127.0.0.1", "name": "x"}]},
        {"output_config": {"format": {"type": "json_schema", "schema": {}}}},
        {"messages": [*_HI, {"role": "assistant", "content": "{"}]},
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]},
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "tool_result", "tool_use_id": "c", "content": [{"type": "image"}]}],
                }
            ]
        },
    ],
)
async def test_what_would_change_the_answer_is_refused(
    client: anthropic.AsyncAnthropic, fields: dict[str, Any]
) -> None:
    with pytest.raises(anthropic.UnprocessableEntityError) as caught:
        await client.post(
            "/v1/messages",
            body={"model": "scripted", "messages": _HI, "max_tokens": 5, **fields},
            cast_to=object,
        )
    assert caught.value.type == "invalid_request_error"
    assert "not supported" in str(caught.value)


@pytest.mark.parametrize(
    "blocks",
    [
        [{"type": "text"}],
        [{"type": "tool_result"}],
        [{"type": "tool_use", "id": "c", "name": "f", "input": "x"}],
    ],
)
async def test_blocks_that_make_no_conversation(client: anthropic.AsyncAnthropic, blocks: Any) -> None:
    with pytest.raises(anthropic.BadRequestError):
        await client.messages.create(model="scripted", messages=[{"role": "user", "content": blocks}], max_tokens=5)


async def test_what_would_not_change_it_is_ignored(client: anthropic.AsyncAnthropic, script: Script) -> None:
    answer = await client.messages.create(
        model="scripted",
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        messages=_HI,
        max_tokens=2000 - 200,
        metadata={"user_id": "u"},
        thinking={"type": "enabled", "budget_tokens": 1024},
        tool_choice={"type": "none"},
        tools=[_WEATHER],
        service_tier="auto",
    )
    assert answer.content[0].type == "text"
    assert "weather" not in script.prompts[0]


async def test_an_engine_that_dies_in_a_stream_is_an_error_event(
    client: anthropic.AsyncAnthropic, script: Script
) -> None:
    script.dies_after = 1
    stream = await client.messages.create(model="scripted", messages=_HI, max_tokens=50, stream=True)
    seen = [(await anext(stream)).type for _ in range(3)]
    with pytest.raises(anthropic.APIStatusError, match="exit code -9") as caught:
        await anext(stream)
    assert caught.value.type == "api_error"
    assert seen == ["message_start", "content_block_start", "content_block_delta"]


async def test_a_full_queue_is_tried_again(client: anthropic.AsyncAnthropic, script: Script) -> None:
    script.refuses = [QueueFullError("the queue is full")]
    with pytest.raises(anthropic.RateLimitError) as caught:
        await client.messages.create(model="scripted", messages=_HI, max_tokens=5)
    assert caught.value.type == "rate_limit_error"
    assert caught.value.response.headers["Retry-After"] == "1"
    script.refuses = [QueueFullError("the queue is full")]
    answer = await client.with_options(max_retries=1).messages.create(model="scripted", messages=_HI, max_tokens=5)
    assert answer.stop_reason == "end_turn"


async def test_errors_before_the_body_is_read_have_the_same_form(client: anthropic.AsyncAnthropic) -> None:
    """A wrong key, an unknown model, a large body, no body, no such method or path."""

    async def error_of(method: str, path: str, **arguments: Any) -> tuple[int, str]:
        response = await client._client.request(method, path, **arguments)
        body = response.json()
        assert set(body) == {"type", "error"}
        assert body["type"] == "error"
        assert body["error"]["message"]
        return response.status_code, body["error"]["type"]

    key = {"x-api-key": "secret"}
    for path in ("/v1/messages", "/v1/messages/count_tokens"):
        assert await error_of("POST", path, headers={"x-api-key": "wrong"}) == (401, "authentication_error")
        assert await error_of("POST", path, headers=key) == (400, "invalid_request_error")
        assert await error_of("GET", path, headers=key) == (405, "invalid_request_error")
        model = {"model": "gpt", "messages": _HI, "max_tokens": 1}
        assert await error_of("POST", path, headers=key, json=model) == (404, "not_found_error")
        large = b" " * ((1 << 20) + 1)
        assert await error_of("POST", path, headers=key, content=large) == (413, "request_too_large")
    assert await error_of("POST", "/v1/messages/batches", headers=key) == (404, "not_found_error")
    missing = {"model": "scripted", "messages": _HI}
    assert await error_of("POST", "/v1/messages", headers=key, json=missing) == (400, "invalid_request_error")


async def test_models_are_listed_for_this_client_too(client: anthropic.AsyncAnthropic) -> None:
    assert [model.id async for model in client.models.list()] == ["scripted"]
    assert (await client.models.retrieve("scripted")).id == "scripted"
