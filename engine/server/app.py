"""The application: routes and authentication."""

from __future__ import annotations

import logging
from functools import cache

import msgspec
from aiohttp import web
from aiohttp.typedefs import Middleware

from ... import __version__
from ..errors import RequestError
from ..protocol.service import Health, ModelCard, ModelList
from .apis.chat import chat_completions
from .apis.completions import completions
from .front.answers import Handler, errors_middleware, json_response
from .front.bearer import is_authorized
from .front.bodies import BODIES, Bodies, BodyLimits, leave_continue_to_reading
from .front.serving import HEALTH_PATH
from .openapi import openapi
from .sessions import delete_session
from .state import STATE, ServerState

_log = logging.getLogger("abatch.server")


def make_app(state: ServerState, *, api_key: str | None, max_body_bytes: int) -> web.Application:
    """The server's application. With an `api_key`, everything under /v1/ wants it as a bearer token."""
    middlewares = [errors_middleware(_log)]
    if api_key is not None:
        middlewares.append(_auth_middleware(api_key))
    app = web.Application(middlewares=middlewares)
    app[STATE] = state
    app[BODIES] = Bodies(BodyLimits(most_bytes=max_body_bytes, option="--max-body"))
    app.router.add_post("/v1/chat/completions", chat_completions, expect_handler=leave_continue_to_reading)
    app.router.add_post("/v1/completions", completions, expect_handler=leave_continue_to_reading)
    app.router.add_delete("/v1/sessions/{session_id}", delete_session)
    app.router.add_get("/v1/models", _models)
    app.router.add_get("/v1/models/{model:.+}", _model)
    app.router.add_get(HEALTH_PATH, _health)
    app.router.add_get("/metrics", _metrics)
    app.router.add_get("/openapi.json", _openapi)
    return app


def _auth_middleware(api_key: str) -> Middleware:
    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/v1/") and not is_authorized(request.headers.get("Authorization", ""), api_key):
            raise RequestError(
                "missing or wrong API key: send it as 'Authorization: Bearer KEY'", status=401, code="invalid_api_key"
            )
        return await handler(request)

    return check


def _card(state: ServerState) -> ModelCard:
    max_model_len = state.generator.engine.ready.max_model_len
    return ModelCard(id=state.model_name, created=state.created, max_model_len=max_model_len)


async def _models(request: web.Request) -> web.Response:
    return json_response(ModelList(data=[_card(request.app[STATE])]))


async def _model(request: web.Request) -> web.Response:
    request.app[STATE].check_model(request.match_info["model"])
    return json_response(_card(request.app[STATE]))


async def _health(request: web.Request) -> web.Response:
    state = request.app[STATE]
    if state.is_draining:  # at its end the engine is closed, which is no death
        return json_response(Health("draining"), status=503)
    if not state.generator.engine.is_alive:
        return json_response(Health("engine dead"), status=503)
    if not state.generator.engine.is_responding:
        return json_response(Health("engine not responding"), status=503)
    return json_response(Health("ok"))


async def _metrics(request: web.Request) -> web.Response:
    metrics = request.app[STATE].metrics
    return web.Response(body=metrics.render(), headers={"Content-Type": metrics.content_type})


async def _openapi(_: web.Request) -> web.Response:
    return web.Response(body=_description(), content_type="application/json")


@cache
def _description() -> bytes:
    """Made once: it takes as long as many requests."""
    return msgspec.json.encode(openapi(__version__))
