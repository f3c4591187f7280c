"""`/tokenize` and `/detokenize`, and what else vLLM's clients ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from abatch import __version__
from aiohttp.test_utils import TestClient
from support.scripted_server import Script, scripted_server
from yarl import URL

_HI = [{"role": "user", "content": "hi"}]
_TOOL = {"type": "function", "function": {"name": "weather"}}


@pytest.fixture
async def client() -> AsyncIterator[TestClient[Any, Any]]:
    async with scripted_server(Script()) as server, TestClient(server) as client:
        yield client


async def _post(client: TestClient[Any, Any], path: str, body: Any) -> tuple[int, dict[str, Any]]:
    response = await client.post(path, json=body)
    return response.status, await response.json()


async def test_a_prompt_becomes_tokens_and_text_again(client: TestClient[Any, Any]) -> None:
    status, tokens = await _post(client, "/tokenize", {"prompt": "héllo", "return_token_strs": True})
    assert status == 200
    assert tokens["count"] == len(tokens["tokens"]) == len(tokens["token_strs"]) == 6, "one token a byte"
    assert tokens["max_model_len"] == 2000
    assert tokens["token_strs"][0] == "h"
    assert await _post(client, "/detokenize", {"tokens": tokens["tokens"]}) == (200, {"prompt": "héllo"})


async def test_a_conversation_has_the_tokens_that_answers_count(client: TestClient[Any, Any]) -> None:
    for fields in ({}, {"tools": [_TOOL]}):
        _, tokens = await _post(client, "/tokenize", {"messages": _HI, **fields})
        _, answer = await _post(client, "/v1/chat/completions", {"messages": _HI, "max_tokens": 1, **fields})
        assert tokens["count"] == answer["usage"]["prompt_tokens"]
        _, text = await _post(client, "/detokenize", {"tokens": tokens["tokens"]})
        assert text["prompt"].endswith("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n")


@pytest.mark.parametrize(
    ("path", "body", "status", "mentions"),
    [
        ("/tokenize", {}, 400, "either"),
        ("/tokenize", {"prompt": "a", "messages": _HI}, 400, "either"),
        ("/tokenize", {"prompt": "a" * 3000}, 400, "context"),
        ("/tokenize", {"messages": [{"role": "user", "content": "a" * 3000}]}, 400, "context"),
        ("/tokenize", {"prompt": "a", "model": "gpt"}, 404, "gpt"),
        ("/tokenize", {"messages": _HI, "continue_final_message": True}, 422, "continue_final_message"),
        ("/tokenize", {"messages": _HI, "add_generation_prompt": False}, 422, "add_generation_prompt"),
        ("/tokenize", {"messages": _HI, "chat_template": "x"}, 422, "chat_template"),
        ("/detokenize", {"tokens": [10**6]}, 400, "vocabulary"),
        ("/detokenize", {"tokens": [-1]}, 400, "tokens"),
        ("/detokenize", {"tokens": [1] * 2001}, 400, "context"),
        ("/detokenize", {"tokens": [1], "model": "gpt"}, 404, "gpt"),
    ],
)
async def test_what_has_no_tokens(
    client: TestClient[Any, Any], path: str, body: dict[str, Any], status: int, mentions: str
) -> None:
    answered, answer = await _post(client, path, body)
    assert answered == status
    assert mentions in answer["error"]["message"]


async def test_no_tokens_are_no_text(client: TestClient[Any, Any]) -> None:
    assert await _post(client, "/detokenize", {"tokens": []}) == (200, {"prompt": ""})
    assert (await _post(client, "/tokenize", {"prompt": ""}))[1]["tokens"] == []


async def test_version_and_ping(client: TestClient[Any, Any]) -> None:
    assert await (await client.get("/version")).json() == {"version": __version__}
    assert (await client.get("/ping")).status == 200


async def test_what_costs_processor_time_needs_the_key() -> None:
    async with scripted_server(Script(), api_key="secret") as server, TestClient(server) as client:
        for path in ("/v1/responses", "/v1/messages", "/v1/messages/count_tokens", "/tokenize", "/detokenize"):
            assert (await client.post(path, json={})).status == 401, path
            for headers in ({"X-Api-Key": "secret"}, {"Authorization": "Bearer secret"}):
                assert (await client.post(path, json={}, headers=headers)).status == 400, path
            for headers in ({"X-Api-Key": "Bearer secret"}, {"X-Api-Key": ""}, {"Authorization": "secret"}):
                assert (await client.post(path, json={}, headers=headers)).status == 401, path
        for path in ("/health", "/ping", "/version", "/metrics", "/openapi.json"):
            assert (await client.get(path)).status == 200, path


@pytest.mark.parametrize("name", ["org/model", "org%2Fmodel"])
async def test_models_with_a_slash_in_their_name(name: str) -> None:
    async with scripted_server(Script(), model_name="org/model") as server, TestClient(server) as client:
        response = await client.get(URL(f"/v1/models/{name}", encoded=True))
        assert (await response.json())["id"] == "org/model"
        assert (await client.get("/v1/models/org")).status == 404
