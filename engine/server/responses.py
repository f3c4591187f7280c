"""Answers that both endpoints share: JSON, errors in OpenAI's shape, and streams of server-sent events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import TypeVar

import msgspec
from aiohttp import web

from ..errors import AbatchError, EngineDeadError, QueueFullError, RequestError
from ..protocol import DONE, ErrorBody, ErrorDetail, encode

_Body = TypeVar("_Body", bound=msgspec.Struct)
_log = logging.getLogger("abatch.server")
_STALLED_CLIENT_S = 60.0
"""A client that reads nothing for this long is cut off: it holds a place that others wait for."""
_CONNECTION_LOST = (ConnectionResetError, BrokenPipeError)


def json_response(body: msgspec.Struct, *, status: int = 200) -> web.Response:
    """A wire type as a JSON answer."""
    return web.Response(body=encode(body), status=status, content_type="application/json")


def error_response(error: Exception) -> web.Response:
    """An error of ours in OpenAI's shape, with its status."""
    body, status = error_body(error)
    response = json_response(body, status=status)
    if isinstance(error, QueueFullError):
        response.headers["Retry-After"] = str(error.retry_after_s)
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def error_body(error: Exception) -> tuple[ErrorBody, int]:
    """The body and HTTP status of an error of ours."""
    if isinstance(error, RequestError):
        detail = ErrorDetail(message=str(error), type=error.type, param=error.param, code=error.code)
        return ErrorBody(detail), error.status
    status = 503 if isinstance(error, EngineDeadError) else 500
    code = "engine_dead" if isinstance(error, EngineDeadError) else "internal_error"
    message = str(error) if isinstance(error, EngineDeadError) else "internal error; see the server's log"
    return ErrorBody(ErrorDetail(message=message, type="server_error", code=code)), status


async def read_body(request: web.Request, decoder: msgspec.json.Decoder[_Body]) -> _Body:
    """The request's JSON body, checked.

    Raises:
        RequestError: it is no JSON, or not what the endpoint takes (400).
        web.HTTPRequestEntityTooLarge: it is over the size limit (the error middleware makes that 413).
    """
    try:
        raw = await request.read()
    except web.RequestPayloadError as error:
        raise RequestError(f"cannot read the body: {error}", code="invalid_body") from error
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        param = path.rstrip("`").lstrip(".") or None
        raise RequestError(f"{message} at {param}" if param else message, param=param) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"the body is not valid JSON: {error}", code="invalid_json") from error
    except RecursionError as error:
        raise RequestError("the body is nested too deeply", code="invalid_json") from error


async def stream_response(request: web.Request, events: AsyncIterator[bytes]) -> web.StreamResponse:
    """Send events as they come, then `[DONE]`.

    The first event is awaited before anything is sent, so that an error up to there still has its own status; one
    after that is sent as an event, which is how OpenAI's clients expect it.
    """
    first = await anext(events)
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
    )
    response.headers["X-Accel-Buffering"] = "no"
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(None) as stalled:

            async def write(event: bytes) -> None:
                stalled.reschedule(loop.time() + _STALLED_CLIENT_S)
                await response.write(event)
                stalled.reschedule(None)

            await response.prepare(request)
            await write(first)
            try:
                async for event in events:
                    await write(event)
                await write(DONE)
            except (AbatchError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
                # The status is long gone. A second response in the middle of the stream would only confuse.
                if not isinstance(error, AbatchError):
                    _log.exception("a stream failed")
                body, _ = error_body(error)
                await write(b"data: " + encode(body) + b"\n\n")
            await response.write_eof()
    except (*_CONNECTION_LOST, TimeoutError):
        # The client left, or stopped reading. Closing `events` (our caller does) cancels the request in the engine.
        if request.transport is not None:
            request.transport.abort()
    return response
