"""A chat server of known behaviour, to test clients against."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from abatch.engine.integers import ceil_div
from aiohttp import web

from support.app_server import app_server


@dataclass(slots=True, kw_only=True)
class Behaviour:
    """What the server does. `raw` replaces the whole stream by these pieces, 5 ms apart."""

    ttft_s: float = 0.0
    gaps_s: list[float] = field(default_factory=list)
    """Before each further chunk; the length of the answer follows from it. Empty: max_tokens chunks at once."""
    tokens_per_chunk: int = 1
    status: int = 200
    sends_usage: bool = True
    refuses: str | None = None
    """A field that is answered with 400."""
    objects: Callable[[dict[str, Any]], str | None] | None = None
    """What it says to a body that it answers with 400; None: it takes it."""
    raw: list[bytes] | None = None
    raw_of: Callable[[], list[bytes]] | None = None
    """Makes `raw` anew for each request."""
    hangs_up_after: int | None = None
    bodies: list[dict[str, Any]] = field(default_factory=list)
    """Every request's body, in order."""
    peers: list[object] = field(default_factory=list)
    """Every request's client address and port."""
    headers: list[dict[str, str]] = field(default_factory=list)
    metrics: bytes | None = None
    """What /metrics says; without any it is 404."""
    metrics_peers: list[object] = field(default_factory=list)
    """Of every request for it, client address and port."""


@asynccontextmanager
async def fake_server(behaviour: Behaviour) -> AsyncIterator[str]:
    """The URL of a server that behaves like this."""

    async def chat(request: web.Request) -> web.StreamResponse:
        return await _chat(request, behaviour)

    async def metrics(request: web.Request) -> web.Response:
        assert request.transport is not None
        behaviour.metrics_peers.append(request.transport.get_extra_info("peername"))
        return web.Response(body=behaviour.metrics, status=404 if behaviour.metrics is None else 200)

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/v1/models", _models)
    app.router.add_post("/v1/chat/completions", chat)
    async with app_server(app) as url:
        yield url


async def _models(_: web.Request) -> web.Response:
    return web.json_response({"object": "list", "data": [{"id": "fake", "object": "model"}]})


async def _chat(request: web.Request, behaviour: Behaviour) -> web.StreamResponse:
    body = await request.json()
    behaviour.bodies.append(body)
    behaviour.headers.append(dict(request.headers))
    assert request.transport is not None
    behaviour.peers.append(request.transport.get_extra_info("peername"))
    if behaviour.refuses in body:
        return web.json_response({"error": {"message": f"unknown field {behaviour.refuses}", "type": "x"}}, status=400)
    if behaviour.objects is not None and (objection := behaviour.objects(body)) is not None:
        return web.json_response({"error": {"message": objection, "type": "x", "code": 400}}, status=400)
    if behaviour.status != 200:
        return web.json_response({"error": {"message": "go away", "type": "x"}}, status=behaviour.status)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    raw = behaviour.raw if behaviour.raw_of is None else behaviour.raw_of()
    if raw is not None:
        for piece in raw:
            await response.write(piece)
            await asyncio.sleep(0.005)
        return response
    await asyncio.sleep(behaviour.ttft_s)
    await response.write(_event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}))
    gaps = behaviour.gaps_s or [0.0] * (ceil_div(_max_tokens(body), behaviour.tokens_per_chunk) - 1)
    for number, gap_s in enumerate([0.0, *gaps]):
        if number == behaviour.hangs_up_after:
            request.transport.abort()
            return response
        if gap_s:
            await asyncio.sleep(gap_s)
        await response.write(
            _event({"choices": [{"index": 0, "delta": {"content": "w" * behaviour.tokens_per_chunk}}]})
        )
    await response.write(_event({"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]}))
    if behaviour.sends_usage:
        num_words = sum(len(message["content"].split()) for message in body["messages"])
        usage = {"prompt_tokens": 10 + 2 * num_words, "completion_tokens": (len(gaps) + 1) * behaviour.tokens_per_chunk}
        await response.write(_event({"choices": [], "usage": usage}))
    await response.write(b"data: [DONE]\n\n")
    return response


def _max_tokens(body: dict[str, Any]) -> int:
    return int(body["max_tokens"] if "max_tokens" in body else body["max_completion_tokens"])


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\n\n"
