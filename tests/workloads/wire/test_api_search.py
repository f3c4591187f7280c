"""Which API is used: the one that is named, or the first that the server has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from abatch.engine.errors import ConfigurationError
from abatch.engine.null_server.behaviour import Behaviour
from abatch.engine.null_server.server import NullServer
from abatch.engine.protocol.conversation import ChatMessage
from abatch.workloads.targets.http_connection import Connection
from abatch.workloads.targets.http_target import HttpTarget
from abatch.workloads.targets.target import Call, Reply
from abatch.workloads.targets.unreachable import TargetError
from abatch.workloads.targets.wire.apis import APIS, key_headers
from abatch.workloads.targets.wire.names import checked_api, meant_api
from aiohttp import web
from aiohttp.typedefs import Handler
from support.app_server import app_server


@asynccontextmanager
async def served(*apis: str, otherwise: web.Response | None = None) -> AsyncIterator[tuple[str, list[web.Request]]]:
    """The URL of a server that has these APIs alone, and the requests that it gets.

    `otherwise`: how it answers requests for others; by default it has no such path.
    """
    requests: list[web.Request] = []
    paths = {f"/v1/{APIS[api].path}" for api in apis}

    @web.middleware
    async def these_alone(request: web.Request, handler: Handler) -> web.StreamResponse:
        requests.append(request)
        if request.method == "POST" and request.path not in paths:
            if otherwise is not None:
                return web.Response(status=otherwise.status, body=otherwise.body, content_type="application/json")
            raise web.HTTPNotFound
        return await handler(request)

    app = NullServer(Behaviour(ttft_s=0.0, itl_s=0.0)).app
    app.middlewares.append(these_alone)
    async with app_server(app) as url:
        yield url, requests


async def ask(target: HttpTarget) -> Reply:
    reply = Reply()
    await target.send(Call([ChatMessage(role="user", content="a b c")], 5, "s"), reply)
    return reply


@pytest.mark.parametrize("api", APIS)
async def test_the_one_that_is_named_by_an_option_or_by_the_url(api: str) -> None:
    async with served(api) as (url, requests):
        for connection in (
            Connection(url=url, timeout_s=5, api=api),
            Connection(url=f"{url}/v1/{APIS[api].path}", timeout_s=5),
        ):
            target = await connection.open("null")
            reply = await ask(target)
            await target.close()
            assert (reply.error, "".join(reply.text), reply.output_tokens, target.api) == (None, "w " * 5, 5, api)
    assert {request.path for request in requests} == {f"/v1/{APIS[api].path}"}


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (
            400,
            "As of transformers v4.44, default chat template is no longer allowed, so you must provide a chat template",
        ),
        (422, "this model has no chat template; send the prompt to /v1/completions"),
        (422, "Template error: template not found"),
        (500, "Chat template is not set"),
    ],
)
async def test_a_base_model_is_asked_for_completions(status: int, message: str) -> None:
    refusal = web.json_response({"error": {"message": message, "type": "x"}}, status=status)
    async with served("completions", otherwise=refusal) as (url, _):
        target = await Connection(url=url, timeout_s=5).open("null")
        await target.calibrate()
        reply = await ask(target)
        await target.close()
    assert (target.api, reply.error) == ("completions", None)
    assert target.warnings == ["the model has no chat template: completions is used (--api)"]


async def test_a_model_without_a_template_on_a_server_of_chats_alone_is_told() -> None:
    refusal = web.json_response({"error": {"message": "no chat template", "type": "x"}}, status=400)
    async with served(otherwise=refusal) as (url, _):
        target = await Connection(url=url, timeout_s=5).open("null")
        with pytest.raises(TargetError, match=r"no chat template.*tried chat/completions, completions"):
            await target.calibrate()
        await target.close()


@pytest.mark.parametrize("api", APIS)
async def test_the_first_that_the_server_has(api: str) -> None:
    async with served(api, "messages") as (url, requests):
        target = await Connection(url=url, timeout_s=5).open("null")
        sizer = await target.calibrate()
        reply = await ask(target)
        await target.close()
    assert (target.api, reply.error, sizer.is_measured) == (api, None, True)
    paths = [request.path for request in requests if request.method == "POST"]
    order = [f"/v1/{found.path}" for found in APIS.values()]
    tried = order[: [*APIS].index(api) + 1]
    assert list(dict.fromkeys(paths)) == tried, "each is tried once, and what is there is used from then on"
    assert target.warnings == (
        [] if api == "chat" else [f"the server has no chat/completions: {APIS[api].path} is used (--api)"]
    )


async def test_what_was_tried_is_said_where_the_server_has_none() -> None:
    async with served() as (url, _):
        target = await Connection(url=url, timeout_s=5).open("null")
        with pytest.raises(TargetError, match=r"tried chat/completions, completions, responses, messages\)"):
            await target.calibrate()
        await target.close()


async def test_no_other_api_is_tried_where_one_is_named() -> None:
    async with served("chat") as (url, requests):
        target = await Connection(url=url, timeout_s=5, api="responses").open("null")
        with pytest.raises(TargetError, match="http_404"):
            await target.calibrate()
        await target.close()
    assert {request.path for request in requests} == {"/v1/responses", "/v1/models"}, "models are named in the error"


async def test_the_headers_of_messages_give_way_to_the_user_s() -> None:
    async with served("messages") as (url, requests):
        headers = {"Anthropic-Version": "2099-01-01"}
        target = await Connection(url=url, timeout_s=5, api="messages", api_key="k", headers=headers).open("null")
        await ask(target)
        await target.close()
    sent = requests[-1].headers
    assert sent.getall("anthropic-version") == ["2099-01-01"]
    assert (sent["x-api-key"], sent["Authorization"]) == ("k", "Bearer k")


def test_anthropic_s_keys_are_no_bearer_tokens() -> None:
    assert key_headers("sk-ant-1") == {"anthropic-version": "2023-06-01", "x-api-key": "sk-ant-1"}
    assert key_headers("k") == {"Authorization": "Bearer k"}


def test_names_and_endpoints_must_agree() -> None:
    assert meant_api("auto", None) == "auto"
    assert meant_api("auto", "chat/completions") == meant_api("chat", "chat/completions") == "chat"
    assert meant_api("messages", None) == "messages"
    with pytest.raises(ConfigurationError, match="names the responses API and --api the messages API"):
        meant_api("messages", "responses")
    with pytest.raises(ConfigurationError, match="--api must be auto, chat, completions, responses or messages"):
        checked_api("gemini")
