"""The Responses API as OpenAI's own client meets it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from abatch.engine.errors import QueueFullError
from abatch.engine.request import FinishReason
from openai.types.responses import FunctionToolParam
from support.scripted_server import CALL, Script, scripted_server

_WEATHER: FunctionToolParam = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": False}


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
async def client(script: Script) -> AsyncIterator[openai.AsyncOpenAI]:
    async with (
        scripted_server(script) as server,
        openai.AsyncOpenAI(base_url=str(server.make_url("/v1")), api_key="unused") as client,
    ):
        yield client


async def test_a_whole_answer(client: openai.AsyncOpenAI, script: Script) -> None:
    answer = await client.responses.create(
        model="scripted", instructions="Be brief.", input="hi", metadata={"run": "7"}, max_output_tokens=50
    )
    assert answer.output_text == script.said
    assert answer.status == "completed"
    assert answer.usage is not None
    assert answer.usage.input_tokens_details.cached_tokens == 3
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
    assert (answer.instructions, answer.metadata, answer.max_output_tokens) == ("Be brief.", {"run": "7"}, 50)
    assert script.sampling is not None
    assert script.sampling.max_tokens == 50
    (prompt,) = script.prompts
    assert prompt.index("Be brief.") < prompt.index("hi")


async def test_an_answer_that_is_cut_short_is_incomplete(client: openai.AsyncOpenAI, script: Script) -> None:
    script.finish_reason = FinishReason.LENGTH
    answer = await client.responses.create(model="scripted", input="hi")
    assert answer.status == "incomplete"
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"
    assert [item.status for item in answer.output if item.type == "message"] == ["incomplete"]
    stream = await client.responses.create(model="scripted", input="hi", stream=True)
    assert [event.type async for event in stream][-1] == "response.incomplete"


async def test_the_events_of_a_stream(client: openai.AsyncOpenAI, script: Script) -> None:
    script.said = f"One moment.{CALL}"
    stream = await client.responses.create(model="scripted", input="Weather?", tools=[_WEATHER], stream=True)
    events = [event async for event in stream]
    kinds = [event.type.removeprefix("response.") for event in events]
    deltas = kinds.count("output_text.delta")
    assert deltas > 1
    assert kinds == [
        *("created", "in_progress"),
        *("output_item.added", "content_part.added", *["output_text.delta"] * deltas),
        *("output_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done"),
        "completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    last = events[-1]
    assert last.type == "response.completed"
    message, call = last.response.output
    assert message.type == "message"
    assert message.content[0].type == "output_text"
    assert message.content[0].text == "One moment."
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "One moment."
    assert call.type == "function_call"
    assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Rome"})
    items = [event.item for event in events if event.type == "response.output_item.done"]
    assert items == [message, call]


async def test_what_a_client_accumulates_is_the_answer(client: openai.AsyncOpenAI, script: Script) -> None:
    script.said = f"One moment.{CALL}"
    async with client.responses.stream(model="scripted", input="Weather?", tools=[_WEATHER]) as stream:
        final = await stream.get_final_response()
    whole = await client.responses.create(model="scripted", input="Weather?", tools=[_WEATHER])
    assert final.output_text == whole.output_text == "One moment."
    assert [item.type for item in final.output] == [item.type for item in whole.output] == ["message", "function_call"]


async def test_a_conversation_goes_on_with_what_an_answer_had(client: openai.AsyncOpenAI, script: Script) -> None:
    """What the model said and called becomes one message of the prompt, as it was written."""
    script.said = f"One moment.{CALL}"
    first = await client.responses.create(model="scripted", input="Weather?", tools=[_WEATHER])
    call = first.output[1]
    assert call.type == "function_call"
    items: list[Any] = [
        {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        *(item.model_dump() for item in first.output),
        {"type": "function_call_output", "call_id": call.call_id, "output": [{"type": "input_text", "text": "sunny"}]},
    ]
    await client.responses.create(model="scripted", input=items, tools=[_WEATHER])
    prompt, longer = script.prompts
    assert longer.startswith(f"{prompt}One moment.<tool_call>"), "words and call are one message"
    assert longer.index('"city"') < longer.index("sunny")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"text": {"format": {"type": "json_object"}}}, "text.format"),
        ({"include": ["message.output_text.logprobs"]}, "top_logprobs"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:"}]}]}, "input"),
    ],
)
async def test_what_would_change_the_answer_is_refused(
    client: openai.AsyncOpenAI, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        await client.responses.create(**{"model": "scripted", "input": "hi", **fields})
    assert caught.value.param == param


@pytest.mark.parametrize(
    "item",
    [
        {"role": "user"},
        {"content": "hi"},
        {"type": "function_call", "name": "f"},
        {"type": "function_call_output", "output": "x"},
        {"type": "reasoning", "summary": []},
        {"role": "user", "content": [{"type": "input_text"}]},
    ],
)
async def test_items_that_make_no_conversation(client: openai.AsyncOpenAI, item: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.responses.create(model="scripted", input=[item])  # type: ignore[list-item]
    assert caught.value.param == "input"


async def test_what_would_not_change_it_is_ignored(client: openai.AsyncOpenAI, script: Script) -> None:
    answer = await client.responses.create(
        model="scripted",
        input="hi",
        store=True,
        include=["reasoning.encrypted_content"],
        reasoning={"effort": "low"},
        truncation="auto",
        service_tier="auto",
        prompt_cache_key="k",
        text={"format": {"type": "text"}, "verbosity": "low"},
    )
    assert answer.output_text == script.said


async def test_an_engine_that_dies_in_a_stream_fails_the_response(client: openai.AsyncOpenAI, script: Script) -> None:
    script.dies_after = 1
    stream = await client.responses.create(model="scripted", input="hi", stream=True)
    last = [event async for event in stream][-1]
    assert last.type == "response.failed"
    assert last.response.error is not None
    assert "exit code -9" in last.response.error.message
    assert last.response.output_text == script.said[:7]


async def test_an_error_before_the_first_event_has_its_status(client: openai.AsyncOpenAI, script: Script) -> None:
    script.dies_after = 0
    with pytest.raises(openai.InternalServerError) as caught:
        await client.with_options(max_retries=0).responses.create(model="scripted", input="hi", stream=True)
    assert caught.value.status_code == 503


async def test_a_full_queue_is_tried_again(client: openai.AsyncOpenAI, script: Script) -> None:
    script.refuses = [QueueFullError("the queue is full")]
    answer = await client.with_options(max_retries=1).responses.create(model="scripted", input="hi")
    assert answer.output_text == script.said


async def test_a_session_waits_for_the_tool_that_was_called(client: openai.AsyncOpenAI, script: Script) -> None:
    script.said = CALL
    for stream in (False, True):
        answer = await client.responses.create(
            model="scripted", input="Weather?", tools=[_WEATHER], stream=stream, extra_headers={"X-Session-ID": "s"}
        )
        if isinstance(answer, openai.AsyncStream):
            async for _ in answer:
                pass
    assert script.told_tools == [("s", "weather")] * 2
