"""What all endpoints that generate read and answer: JSON bodies, and streams of server-sent events."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import msgspec
from aiohttp import web

from ..errors import AbatchError
from ..protocol.encoding import DONE, encode
from .front.bodies import BODIES
from .front.error_forms import error_body
from .front.json_bodies import MOST_VALUES, aside, decode_json
from .state import STATE

_Body = TypeVar("_Body", bound=msgspec.Struct)
_log = logging.getLogger("abatch.server")


async def read_body(request: web.Request, decoder: msgspec.json.Decoder[_Body]) -> tuple[_Body, int]:
    """The request's JSON body, checked, and its size in bytes.

    Raises:
        RequestError: it is no JSON, or not what the endpoint takes (400), or cannot be read (`Bodies.read`).
    """
    raw = await request.app[BODIES].read(request)
    most_values = MOST_VALUES + request.app[STATE].generator.engine.ready.max_model_len
    return await aside(len(raw), lambda: decode_json(raw, decoder, most_values=most_values)), len(raw)


def _error_event(error: Exception) -> bytes:
    """How chat completions and completions tell of an error in the middle of a stream."""
    return b"data: " + encode(error_body(error)[0]) + b"\n\n"


async def stream_response(
    request: web.Request,
    events: AsyncIterator[bytes],
    *,
    end: bytes = DONE,
    error_event: Callable[[Exception], bytes] = _error_event,
) -> web.StreamResponse:
    """Send events as they come.

    The first event is awaited before anything is sent, so that an error up to there still has its own status; one
    after that is sent as an event, which is how clients expect it.

    Args:
        request: What is answered.
        events: Encoded, one or several at once.
        end: What follows the last of them.
        error_event: Encodes an error that comes after the first of them.
    """
    first = await anext(events)
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
    )
    response.headers["X-Accel-Buffering"] = "no"
    try:
        await response.prepare(request)
        await response.write(first)
        try:
            async for event in events:
                await response.write(event)
            if end:
                await response.write(end)
        except (AbatchError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
            # The status is long gone. A second response in the middle of the stream would only confuse.
            if not isinstance(error, AbatchError):
                _log.exception("a stream failed")
            await response.write(error_event(error))
        await response.write_eof()
    except ConnectionError:
        # The client left. Closing `events` (our caller does) cancels the request in the engine.
        if request.transport is not None:
            request.transport.abort()
    return response
