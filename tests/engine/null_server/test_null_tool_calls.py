"""Calls of tools by the null server: as each API's own client reads them, and as our client counts them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import anthropic
import msgspec
import openai
import pytest
from abatch.engine.null_server.apis.api import NullApi, Outcome
from abatch.engine.null_server.apis.chat import ChatNull
from abatch.engine.null_server.apis.messages import MessagesNull
from abatch.engine.null_server.apis.responses import ResponsesNull
from abatch.engine.null_server.behaviour import Answer, Behaviour
from abatch.engine.null_server.server import NullServer
from abatch.engine.null_server.tool_calls import call_parts
from abatch.engine.null_server.truth import Truth
from abatch.engine.protocol.conversation import ChatMessage
from abatch.workloads.targets.target import Call, Reply
from abatch.workloads.targets.wire.api import RequestSettings, request_body
from abatch.workloads.targets.wire.apis import APIS
from support.answers import STEP_S, answered
from support.app_server import app_server

_HI: Any = [{"role": "user", "content": "a b c"}]
_NAMES = ("find", "read")
_TOOLS: dict[str, list[Any]] = {
    "chat": [{"type": "function", "function": {"name": name}} for name in _NAMES],
    "responses": [{"type": "function", "name": name, "parameters": {}, "strict": False} for name in _NAMES],
    "messages": [{"name": name, "input_schema": {"type": "object"}} for name in _NAMES],
}
_Called = list[tuple[str, str, Any]]
"""Id, name and arguments of each call."""


@asynccontextmanager
async def served(truths: list[Truth], **behaviour: Any) -> AsyncIterator[str]:
    """The URL of a null server in this process that waits for nothing and answers with two calls."""
    fast = {"ttft_s": 0.0, "itl_s": 0.0, "tool_calls": 2}
    app = NullServer(Behaviour(**{**fast, **behaviour}), on_truth=truths.append).app
    async with app_server(app) as url:
        yield url


@pytest.mark.parametrize("malformed", [False, True])
@pytest.mark.parametrize("counts", [(1,), (2, 2, 1), (1, 1, 1, 1, 1)])
@pytest.mark.parametrize("num_calls", [1, 2])
def test_each_chunk_adds_its_tokens_to_a_call(counts: Sequence[int], num_calls: int, malformed: bool) -> None:
    num_calls = min(num_calls, len(counts))
    answer = Answer(0.0, (0.0,) * len(counts), (*counts,), word='"w"', num_calls=num_calls, is_malformed=malformed)
    parts = call_parts(answer, _NAMES)
    assert [part.number for part in parts] == [*range(len(counts))]
    assert [part.arguments.count("w") for part in parts] == [*counts]
    calls = [part.call for part in parts if part.is_first]
    assert [call.name for call in calls] == [*_NAMES[:num_calls]]
    for call in calls:
        text = "".join(part.arguments for part in parts if part.call == call)
        assert text == call.arguments
        if not malformed:
            assert set(json.loads(text)["text"].split()) == {'"w"'}
        else:
            with pytest.raises(json.JSONDecodeError):
                json.loads(text)
    assert sum(part.is_last for part in parts) == num_calls


async def chat_calls(url: str, stream: bool) -> tuple[str, _Called]:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0) as client:
        fields: Any = {"model": "null", "messages": _HI, "tools": _TOOLS["chat"], "max_tokens": 7}
        if stream:
            async with client.chat.completions.stream(**fields) as events:
                kinds = [event.type async for event in events]
                (choice,) = (await events.get_final_completion()).choices
            assert kinds.count("tool_calls.function.arguments.delta") == 7
            assert kinds.count("tool_calls.function.arguments.done") == 2
        else:
            (choice,) = (await client.chat.completions.create(**fields)).choices
    found: Any = choice.message.tool_calls
    return choice.finish_reason, [(call.id, call.function.name, json.loads(call.function.arguments)) for call in found]


async def responses_calls(url: str, stream: bool) -> tuple[str, _Called]:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0) as client:
        fields: Any = {"model": "null", "input": "a b c", "tools": _TOOLS["responses"], "max_output_tokens": 7}
        if stream:
            async with client.responses.stream(**fields) as events:
                said = [event async for event in events]
                response = await events.get_final_response()
            assert [event.type for event in said].count("response.function_call_arguments.delta") == 7
            numbers = [event.sequence_number for event in said]
            assert numbers == sorted(set(numbers))
        else:
            response = await client.responses.create(**fields)
    calls: Any = response.output
    return str(response.status), [(call.call_id, call.name, json.loads(call.arguments)) for call in calls]


async def messages_calls(url: str, stream: bool) -> tuple[str, _Called]:
    async with anthropic.AsyncAnthropic(base_url=url, api_key="unused", max_retries=0) as client:
        fields: Any = {"model": "null", "messages": _HI, "tools": _TOOLS["messages"], "max_tokens": 7}
        if stream:
            async with client.messages.stream(**fields) as events:
                kinds = [event.type async for event in events]
                message = await events.get_final_message()
            assert kinds.count("input_json") == 7
        else:
            message = await client.messages.create(**fields)
    blocks: Any = message.content
    return str(message.stop_reason), [(block.id, block.name, block.input) for block in blocks]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("calls_of", "reason"),
    [(chat_calls, "tool_calls"), (responses_calls, "completed"), (messages_calls, "tool_use")],
)
async def test_official_clients_read_the_calls(calls_of: Any, reason: str, stream: bool) -> None:
    async with served([]) as url:
        found, calls = await calls_of(url, stream)
        again = (await calls_of(url, stream))[1]
    assert found == reason
    assert [(name, arguments) for _, name, arguments in calls] == [
        ("find", {"text": "w w w "}),
        ("read", {"text": "w w w w "}),
    ]
    assert len({call_id for call_id, _, _ in [*calls, *again]}) == 4


async def ask(url: str, api: str, *, stream: bool = True, **extra: Any) -> Reply:
    """What our own client makes of the answer."""
    fields = {"stream": stream, "tools": _TOOLS.get(api), **extra}
    call = Call([ChatMessage(role="user", content="a b c")], 7, "s")
    body = msgspec.json.encode(request_body(APIS[api], call, RequestSettings("null", extra=fields)))
    async with aiohttp.ClientSession() as http, http.post(f"{url}/v1/{APIS[api].path}", data=body) as response:
        assert response.status == 200
        return answered(await response.read(), api=APIS[api])


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("api", _TOOLS)
async def test_our_client_counts_tokens_of_calls_as_any_others(api: str, stream: bool) -> None:
    truths: list[Truth] = []
    async with served(truths) as url:
        reply = await ask(url, api, stream=stream)
    assert (reply.error, reply.finish_reason, reply.malformed_events) == (None, "tool_calls", 0)
    assert (reply.output_tokens, "".join(reply.text)) == (7, "")
    assert reply.first_answer_s == reply.first_s
    assert [truth.output_tokens for truth in truths] == [7]


@pytest.mark.parametrize("api", [ChatNull(), ResponsesNull(), MessagesNull()], ids=lambda api: str(api.path))
def test_every_chunk_of_a_call_is_an_arrival(api: NullApi) -> None:
    """The first one is the first token, and each gap between two of them is one between tokens."""
    answer = Answer(0.0, (0.0,) * 4, (2, 2, 2, 1), num_calls=2)
    parts = call_parts(answer, _NAMES)
    outcome = Outcome(3, 0, 7, "tool_calls", "", [part.call for part in parts if part.is_first])
    end = api.end(outcome, has_usage=True)
    client = next(each for each in APIS.values() if api.path.endswith(each.path))
    reply = answered(api.begin(is_text=False), *map(api.call_part, parts), end, api=client)
    assert (reply.first_s, reply.output_tokens, reply.malformed_events) == (1.0 + STEP_S, 7, 0)
    assert reply.gaps_us == [round(STEP_S * 1e6)] * 3


@pytest.mark.parametrize(
    ("api", "choice", "names"),
    [
        ("chat", "none", []),
        ("chat", {"type": "function", "function": {"name": "read"}}, ["read", "read"]),
        ("responses", {"type": "function", "name": "read"}, ["read", "read"]),
        ("messages", {"type": "none"}, []),
        ("messages", {"type": "tool", "name": "read"}, ["read", "read"]),
        ("messages", {"type": "any"}, ["find", "read"]),
    ],
)
async def test_the_choice_of_a_tool_is_kept_to(api: str, choice: Any, names: list[str]) -> None:
    async with served([]) as url, aiohttp.ClientSession() as http:
        limit = "max_output_tokens" if api == "responses" else "max_tokens"
        body = {"input": "a", "messages": _HI, limit: 7, "tools": _TOOLS[api], "tool_choice": choice}
        async with http.post(f"{url}/v1/{APIS[api].path}", json=body) as response:
            text = await response.text()
    assert [name for name in text.split('"') if name in _NAMES] == names


async def test_what_brings_no_tools_is_answered_in_text() -> None:
    async with served([]) as url:
        for api in APIS:
            reply = await ask(url, api, tools=None)
            assert ("".join(reply.text), reply.finish_reason) == ("w " * 7, "length")
        assert "".join((await ask(url, "completions", tools=_TOOLS["chat"])).text) == "w " * 7


@pytest.mark.parametrize("api", _TOOLS)
async def test_arguments_that_are_no_json_and_calls_that_are_cut_off(api: str) -> None:
    async with served([], malformed_rate=1.0, finish_reason="length") as url:
        for stream in (True, False):
            reply = await ask(url, api, stream=stream)
            assert (reply.error, reply.finish_reason, reply.output_tokens) == (None, "length", 7)
    truths: list[Truth] = []
    async with served(truths, reset_rate=1.0) as url:
        with pytest.raises(aiohttp.ClientError):
            await ask(url, api)
    assert (truths[0].fault, truths[0].output_tokens) == ("reset", 3)
