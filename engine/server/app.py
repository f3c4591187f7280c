"""The application: routes, authentication, and what becomes of an exception."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web
from aiohttp.typedefs import Middleware

from ... import __version__
from ..errors import AbatchError, RequestError
from ..protocol import ModelCard, ModelList
from .chat import chat_completions
from .completions import completions
from .openapi import openapi
from .responses import error_response, json_response
from .sessions import delete_session
from .state import STATE, ServerState

_log = logging.getLogger("abatch.server")
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(state: ServerState, *, api_key: str | None, max_body_bytes: int) -> web.Application:
    """The server's application. With an `api_key`, everything under /v1/ wants it as a bearer token."""
    middlewares: list[Middleware] = [_errors_middleware]
    if api_key is not None:
        middlewares.append(_auth_middleware(api_key))
    app = web.Application(middlewares=middlewares, client_max_size=max_body_bytes)
    app[STATE] = state
    app.router.add_post("/v1/chat/completions", chat_completions)
    app.router.add_post("/v1/completions", completions)
    app.router.add_delete("/v1/sessions/{session_id}", delete_session)
    app.router.add_get("/v1/models", _models)
    app.router.add_get("/v1/models/{model:.+}", _model)
    app.router.add_get("/health", _health)
    app.router.add_get("/metrics", _metrics)
    app.router.add_get("/openapi.json", _openapi)
    return app


@web.middleware
async def _errors_middleware(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Every error leaves in OpenAI's shape; one of ours without, a bug with a traceback in the log."""
    try:
        return await handler(request)
    except web.HTTPRequestEntityTooLarge as error:
        limit = request.app._client_max_size  # aiohttp has no public name for it
        message = f"the body is over the limit of {limit} bytes (--max-body)"
        return error_response(RequestError(message, status=error.status, code="body_too_large"))
    except web.HTTPException as error:
        if error.status < 400:
            raise
        message = f"{request.method} {request.path}: {error.reason}"
        code = "method_not_allowed" if error.status == 405 else "no_such_route"
        response = error_response(RequestError(message, status=error.status, code=code))
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except AbatchError as error:
        return error_response(error)
    except ConnectionResetError:
        raise
    except Exception as error:
        _log.exception("%s %s failed", request.method, request.path)
        return error_response(error)


def _auth_middleware(api_key: str) -> Middleware:
    expected = f"Bearer {api_key}".encode()

    @web.middleware
    async def check(request: web.Request, handler: _Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        if request.path.startswith("/v1/") and not hmac.compare_digest(given, expected):
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


class _Health(msgspec.Struct):
    status: str


async def _health(request: web.Request) -> web.Response:
    state = request.app[STATE]
    if not state.generator.engine.is_alive:
        return json_response(_Health("engine dead"), status=503)
    return json_response(_Health("draining" if state.is_draining else "ok"), status=503 if state.is_draining else 200)


async def _metrics(request: web.Request) -> web.Response:
    metrics = request.app[STATE].metrics
    return web.Response(body=metrics.render(), headers={"Content-Type": metrics.content_type})


async def _openapi(_: web.Request) -> web.Response:
    return web.json_response(openapi(__version__))
