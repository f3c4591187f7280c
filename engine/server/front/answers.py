"""JSON answers, and what becomes of an exception: an error in the form of the API that was asked."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web
from aiohttp.typedefs import Middleware

from ...errors import AbatchError, QueueFullError, RequestError
from ...protocol.encoding import encode
from .error_forms import error_for
from .repeated_log import RepeatedLog

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def json_response(body: msgspec.Struct, *, status: int = 200) -> web.Response:
    """A wire type as a JSON answer."""
    return web.Response(body=encode(body), status=status, content_type="application/json")


def error_response(error: Exception, request: web.BaseRequest | None = None) -> web.Response:
    """An error of ours with its status, in the form that the request's path calls for; without one in OpenAI's."""
    body, status = error_for("" if request is None else request.path, error)
    response = json_response(body, status=status)
    if isinstance(error, QueueFullError):
        response.headers["Retry-After"] = str(error.retry_after_s)
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if status == 415:
        response.headers["Accept-Encoding"] = "identity"
    return response


def errors_middleware(logger: logging.Logger) -> Middleware:
    """Every error leaves in the form of its API; one of ours without, a bug with a traceback in the log."""
    log = RepeatedLog(logger)

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            return _routing_error(request, error)
        except AbatchError as error:
            return error_response(error, request)
        except ConnectionError:  # the client has left: no one to answer
            raise
        except Exception as error:
            log.exception(
                f"{request.method} {_route(request)} failed with {type(error).__name__} {_place(error)}", error
            )
            return error_response(error, request)

    return answer


def _routing_error(request: web.Request, error: web.HTTPException) -> web.Response:
    message = f"{request.method} {request.path}: {error.reason}"
    code = "method_not_allowed" if error.status == 405 else "no_such_route"
    response = error_response(RequestError(message, status=error.status, code=code), request)
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response


def _route(request: web.Request) -> str:
    """The route as it was registered, so that the kinds of trouble in the log are few whatever clients send."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "(no route)"


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__, limit=-1)
    return f"in {frames[-1].name}" if frames else ""
