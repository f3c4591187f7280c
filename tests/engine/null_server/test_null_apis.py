"""The null server's APIs: each asks for the same, and gets the same answer in its own words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest
from abatch.engine.null_server.behaviour import Behaviour
from abatch.engine.null_server.server import NullServer
from abatch.engine.null_server.truth import Truth
from abatch.engine.protocol.conversation import ChatMessage
from abatch.workloads.targets.target import Call, Reply
from abatch.workloads.targets.wire.api import RequestSettings, request_body
from abatch.workloads.targets.wire.apis import APIS
from support.answers import answered
from support.app_server import app_server

_TALK = [
    ChatMessage(role="system", content="be brief"),
    ChatMessage(role="user", content="a b c"),
    ChatMessage(role="assistant", content=" w w"),
    ChatMessage(role="user", content="d e"),
]


@asynccontextmanager
async def served(truths: list[Truth], **behaviour: Any) -> AsyncIterator[str]:
    """The URL of a null server in this process that waits for nothing."""
    app = NullServer(Behaviour(**{"ttft_s": 0.0, "itl_s": 0.0, **behaviour}), on_truth=truths.append).app
    async with app_server(app) as url:
        yield f"{url}/v1"


async def ask(url: str, api: str, *, stream: bool = True, messages: list[ChatMessage] = _TALK) -> tuple[int, Reply]:
    """Status, and what the client makes of the answer."""
    settings = RequestSettings("null", extra={"stream": stream})
    body = msgspec.json.encode(request_body(APIS[api], Call(messages, 7, "s"), settings))
    async with aiohttp.ClientSession() as http, http.post(f"{url}/{APIS[api].path}", data=body) as response:
        return response.status, answered(await response.read(), api=APIS[api])


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("stream", [True, False])
async def test_the_same_answer_in_each_api(api: str, stream: bool) -> None:
    truths: list[Truth] = []
    async with served(truths, tokens_per_chunk=3) as url:
        status, reply = await ask(url, api, stream=stream)
    assert (status, reply.error, reply.finish_reason) == (200, None, "length")
    assert "".join(reply.text) == "w " * 7
    assert (reply.prompt_tokens, reply.cached_tokens, reply.output_tokens) == (9, 0, 7)
    assert [(truth.prompt_tokens, truth.output_tokens, truth.fault) for truth in truths] == [(9, 7, None)]


@pytest.mark.parametrize("api", APIS)
async def test_answers_that_end_by_themselves_and_prompts_that_were_seen(api: str) -> None:
    many = [ChatMessage(role="user", content="x " * 40)]
    async with served([], stop_after=2, prefix_cache=True) as url:
        (_, first), (_, second) = [await ask(url, api, messages=many) for _ in range(2)]
    assert (first.finish_reason, first.output_tokens) == ("stop", 2)
    assert (first.cached_tokens, second.cached_tokens) == (0, 32)
    assert first.prompt_tokens == second.prompt_tokens == 40


@pytest.mark.parametrize("api", APIS)
async def test_failures(api: str) -> None:
    async with served([], finish_reason="error") as url:
        assert (await ask(url, api))[1].error == "server_error"
    async with served([], error_rate=1.0) as url:
        assert (await ask(url, api))[0] == 500


@pytest.mark.parametrize("path", ["completions", "responses", "messages"])
@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"messages": [], "max_tokens": 1, "input": [], "prompt": []}'])
async def test_what_is_no_request_is_refused_and_not_counted(path: str, body: bytes) -> None:
    truths: list[Truth] = []
    async with (
        served(truths) as url,
        aiohttp.ClientSession() as http,
        http.post(f"{url}/{path}", data=body) as response,
    ):
        assert response.status == 400
    assert truths == []
