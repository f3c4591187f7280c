"""Calls of tools as the clients understand them. No small model is sure to call one: it is told what to say."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import anthropic
import litellm
import openai
import pytest
from aiohttp.test_utils import TestServer
from langchain_core.messages import AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from openai.types.chat import ChatCompletionToolParam
from support.scripted_server import CALL, Script, scripted_server

_PARAMETERS: dict[str, object] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
_TOOL: ChatCompletionToolParam = {"type": "function", "function": {"name": "weather", "parameters": _PARAMETERS}}
_SAID = "One moment."
_QUESTION = "What is the weather in Rome?"


@tool  # type: ignore[untyped-decorator]
def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"sunny in {city}"


@pytest.fixture
def script() -> Script:
    return Script(_SAID + CALL)


@pytest.fixture
async def server(script: Script) -> AsyncIterator[TestServer]:
    async with scripted_server(script) as running:
        yield running


def _base(server: TestServer) -> str:
    return str(server.make_url("/v1"))


async def test_openai_streams_a_call(server: TestServer) -> None:
    async with (
        openai.AsyncOpenAI(base_url=_base(server), api_key="unused", max_retries=0) as client,
        client.chat.completions.stream(
            model="scripted", messages=[{"role": "user", "content": _QUESTION}], tools=[_TOOL]
        ) as stream,
    ):
        kinds = {event.type async for event in stream}
        final = (await stream.get_final_completion()).choices[0]
    assert "tool_calls.function.arguments.done" in kinds
    assert final.finish_reason == "tool_calls"
    assert final.message.tool_calls is not None
    (call,) = final.message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Rome"})


async def test_openai_responses_stream_a_call(server: TestServer) -> None:
    async with (
        openai.AsyncOpenAI(base_url=_base(server), api_key="unused", max_retries=0) as client,
        client.responses.stream(
            model="scripted",
            input=_QUESTION,
            tools=[{"type": "function", "name": "weather", "parameters": _PARAMETERS, "strict": False}],
        ) as stream,
    ):
        async for _ in stream:
            pass
        final = await stream.get_final_response()
    (call,) = [item for item in final.output if item.type == "function_call"]
    assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Rome"})
    assert final.output_text == _SAID


async def test_anthropic_streams_a_call(server: TestServer) -> None:
    url = str(server.make_url("")).rstrip("/")
    async with (
        anthropic.AsyncAnthropic(base_url=url, api_key="unused", max_retries=0) as client,
        client.messages.stream(
            model="scripted",
            max_tokens=100,
            messages=[{"role": "user", "content": _QUESTION}],
            tools=[{"name": "weather", "input_schema": _PARAMETERS}],
        ) as stream,
    ):
        final = await stream.get_final_message()
    assert final.stop_reason == "tool_use"
    (call,) = [block for block in final.content if block.type == "tool_use"]
    assert (call.name, call.input) == ("weather", {"city": "Rome"})


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_langchain_calls_a_tool_and_tells_its_result(server: TestServer, script: Script, api: str) -> None:
    model = ChatOpenAI(
        base_url=_base(server),
        api_key="unused",
        model="scripted",
        max_tokens=100,
        max_retries=0,
        use_responses_api=api == "responses",
    ).bind_tools([weather])
    question = HumanMessage(_QUESTION)
    called = await model.ainvoke([question])
    (call,) = called.tool_calls
    assert (call["name"], call["args"]) == ("weather", {"city": "Rome"})
    streamed: AIMessageChunk | None = None
    async for chunk in model.astream([question]):
        streamed = chunk if streamed is None else streamed + chunk
    assert streamed is not None
    assert [(call["name"], call["args"]) for call in streamed.tool_calls] == [("weather", {"city": "Rome"})]
    script.said = "It is sunny."
    result = ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"])
    assert (await model.ainvoke([question, called, result])).text == "It is sunny."
    assert "sunny in Rome" in script.prompts[-1]


async def test_litellm_streams_a_call(server: TestServer) -> None:
    stream = await litellm.acompletion(
        model="openai/scripted",
        api_base=_base(server),
        api_key="unused",
        messages=[{"role": "user", "content": _QUESTION}],
        tools=[_TOOL],
        stream=True,
    )
    chunks = [chunk async for chunk in stream]
    whole = litellm.stream_chunk_builder(chunks)
    (call,) = whole.choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Rome"})
    assert whole.choices[0].finish_reason == "tool_calls"
