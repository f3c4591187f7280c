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
from ..protocol.tokenize import Version
from .apis.chat import chat_completions
from .apis.completions import completions
from .apis.messages import count_tokens, messages
from .apis.responses import responses
from .apis.tokens import detokenize, tokenize
from .front.answers import Handler, errors_middleware, json_response
from .front.bearer import is_authorized, is_key
from .front.bodies import BODIES, Bodies, BodyLimits, leave_continue_to_reading
from .front.cross_origin import CrossOrigin
from .front.error_forms import MESSAGES_PATH
from .front.serving import HEALTH_PATH
from .openapi import openapi
from .sessions import delete_session
from .state import STATE, ServerState

_log = logging.getLogger("abatch.server")
_POSTS: dict[str, Handler] = {
    "/v1/chat/completions": chat_completions,
    "/v1/completions": completions,
    "/v1/responses": responses,
    MESSAGES_PATH: messages,
    f"{MESSAGES_PATH}/count_tokens": count_tokens,
    "/tokenize": tokenize,
    "/detokenize": detokenize,
}


_OPEN_PATHS = frozenset({HEALTH_PATH, "/ping", "/version", "/metrics", "/openapi.json"})
"""Need no key: they show nothing of requests, and cost next to nothing."""


def make_app(
    state: ServerState, *, api_key: str | None, max_body_bytes: int, cross_origin: CrossOrigin | None = None
) -> web.Application:
    """The server's application.

    Args:
        state: Of the server.
        api_key: Wanted with every request but for `_OPEN_PATHS`, as a bearer token or as Anthropic's `x-api-key`.
        max_body_bytes: Of a request.
        cross_origin: Which web pages may call it; by default none.
    """
    middlewares = [errors_middleware(_log)]
    if api_key is not None:
        middlewares.append(_auth_middleware(api_key))
    app = web.Application(middlewares=middlewares)
    if cross_origin is not None:
        cross_origin.apply(app)
    app[STATE] = state
    app[BODIES] = Bodies(BodyLimits(most_bytes=max_body_bytes, option="--max-body"))
    for path, handler in _POSTS.items():
        app.router.add_post(path, handler, expect_handler=leave_continue_to_reading)
    app.router.add_delete("/v1/sessions/{session_id}", delete_session)
    app.router.add_get("/v1/models", _models)
    app.router.add_get("/v1/models/{model:.+}", _model)
    for path in (HEALTH_PATH, "/ping"):
        app.router.add_get(path, _health)
    app.router.add_get("/version", _version)
    app.router.add_get("/metrics", _metrics)
    app.router.add_get("/openapi.json", _openapi)
    return app


def _auth_middleware(api_key: str) -> Middleware:
    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        headers = request.headers
        if not (
            request.path in _OPEN_PATHS
            or is_authorized(headers.get("Authorization", ""), api_key)
            or is_key(headers.get("X-Api-Key", ""), api_key)
        ):
            raise RequestError(
                "missing or wrong API key: send it as 'Authorization: Bearer KEY' or 'X-Api-Key: KEY'",
                status=401,
                code="invalid_api_key",
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


async def _version(_: web.Request) -> web.Response:
    return json_response(Version(__version__))


async def _metrics(request: web.Request) -> web.Response:
    metrics = request.app[STATE].metrics
    return web.Response(body=metrics.render(), headers={"Content-Type": metrics.content_type})


async def _openapi(_: web.Request) -> web.Response:
    return web.Response(body=_description(), content_type="application/json")


@cache
def _description() -> bytes:
    """Made once: it takes as long as many requests."""
    return msgspec.json.encode(openapi(__version__))
