"""Clients that leave, and a server that shuts down, over every API with conversations."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from abatch.engine.server.generation import TextDelta
from abatch.engine.server.state import STATE
from aiohttp.test_utils import TestClient
from support.fronts import front, head, until
from support.scripted_server import Script, ScriptedGenerator, scripted_app, scripted_server

_BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "hi"}]},
    "/v1/responses": {"input": "hi"},
    "/v1/messages": {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 50},
}


class _Endless(ScriptedGenerator):
    """Speaks until no one listens."""

    num_running = 0

    async def stream(self, *_: Any, **__: Any) -> AsyncIterator[TextDelta]:  # type: ignore[override]
        self.num_running += 1
        try:
            while True:
                yield TextDelta("word ", 1)
                await asyncio.sleep(0.001)
        finally:
            self.num_running -= 1


@pytest.mark.parametrize("is_streamed", [True, False])
@pytest.mark.parametrize("path", _BODIES)
async def test_a_client_that_leaves_ends_its_answer(path: str, is_streamed: bool) -> None:
    app = scripted_app(generator := _Endless(Script()))
    body = json.dumps(_BODIES[path] | {"stream": is_streamed}).encode()
    async with front(app) as server:
        _, writer = await server.connect(head(b"POST", path.encode(), b"Content-Length: %d" % len(body)) + body)
        await until(lambda: generator.num_running)
        writer.close()
        await until(lambda: not generator.num_running)


@pytest.mark.parametrize("path", _BODIES)
async def test_a_server_that_shuts_down_takes_nothing_new(path: str) -> None:
    async with scripted_server(Script()) as server, TestClient(server) as client:
        client.server.app[STATE].is_draining = True  # type: ignore[attr-defined]
        response = await client.post(path, json=_BODIES[path])
        answer = await response.json()
        assert response.status == 503
        assert "shutting down" in answer["error"]["message"]
        assert path != "/v1/messages" or answer["error"]["type"] == "overloaded_error"
