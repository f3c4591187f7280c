"""What /health and /openapi.json say."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from abatch.engine.config import EngineConfig
from abatch.engine.hosting.engine_client import EngineClient
from abatch.engine.server.state import STATE
from aiohttp.test_utils import TestClient, TestServer
from support.fronts import engine_app
from support.waiting import PATIENCE_S


@pytest.mark.parametrize(
    ("is_draining", "is_alive", "is_responding", "status", "says"),
    [
        (False, True, True, 200, "ok"),
        (False, True, False, 503, "engine not responding"),
        (False, False, False, 503, "engine dead"),
        (True, True, True, 503, "draining"),
        (True, False, True, 503, "draining"),
    ],
)
async def test_health(is_draining: bool, is_alive: bool, is_responding: bool, status: int, says: str) -> None:
    app = engine_app()
    app[STATE].is_draining = is_draining
    app[STATE].generator.engine = SimpleNamespace(is_alive=is_alive, is_responding=is_responding)  # type: ignore[assignment]
    async with TestClient(TestServer(app)) as client, client.get("/health") as response:
        assert (response.status, await response.json()) == (status, {"status": says})


async def test_a_stopped_engine_does_not_respond_until_it_goes_on() -> None:
    client = await EngineClient.start(EngineConfig(model="llama-3.1-8b", device="simulated:1ms"), heartbeat_s=0.05)

    async def until(responds: bool) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while client.is_responding != responds:  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0.01)

    try:
        await until(responds=True)
        os.kill(client.pid, signal.SIGSTOP)
        await until(responds=False)
        assert client.is_alive
        os.kill(client.pid, signal.SIGCONT)
        await until(responds=True)
    finally:
        os.kill(client.pid, signal.SIGCONT)
        await client.close()


async def test_every_route_is_described_and_every_reference_leads_somewhere() -> None:
    app = engine_app()
    async with TestClient(TestServer(app)) as client, client.get("/openapi.json") as response:
        raw = await response.read()
    description = msgspec.json.decode(raw)
    resources = [(resource.canonical, route.method) for resource in app.router.resources() for route in resource]
    routes = {(path, method.lower()) for path, method in resources}
    routes = {(path, method) for path, method in routes if path != "/openapi.json" and method != "head"}
    assert {(path, method) for path, item in description["paths"].items() for method in item} == routes
    schemas = description["components"]["schemas"]
    assert set(re.findall(rb"#/components/schemas/(\w+)", raw)) == {name.encode() for name in schemas}
    chat = schemas["ChatCompletionRequest"]["properties"]
    assert (chat["messages"]["minItems"], chat["messages"]["maxItems"]) == (1, 16_384)
    limits: dict[str, Any] = next(way for way in chat["tools"]["anyOf"] if way.get("type") == "array")
    assert limits["maxItems"] == 1024
