"""Reads the body of an answer to its end."""

from __future__ import annotations

import asyncio

import aiohttp

from ...http.faults import RefusedError
from ...http.inflating import encoding_of, inflater_of
from ..target import Call, Reply
from ..wire.api import Api
from .answer import Answer
from .pulse import pulse_of


async def read_answer(response: aiohttp.ClientResponse, api: Api, call: Call, reply: Reply) -> None:
    """Read an answer to the end of its body, so that the connection can be used again.

    A body that breaks off, or goes on, after the server said that the answer is complete takes nothing away from it.
    The loop's pulse must beat meanwhile, from the moment at which the request was sent.

    Raises:
        RefusedError: it is longer than an answer to this call can be, or compressed in a way that nothing inflates.
        aiohttp.ClientError, OSError, TimeoutError: the connection failed, or took too long.
    """
    loop = asyncio.get_running_loop()
    clock, pulse = loop.time, pulse_of(loop)
    answer = Answer(api, call, reply)
    inflater = inflater_of(response)
    reply.compression = encoding_of(response)
    try:
        async with asyncio.timeout(None) as patience:
            async for data in response.content.iter_any():
                now_s = clock()
                if pulse.was_late(now_s):
                    answer.was_read_late = True
                for piece in (data,) if inflater is None else inflater.pieces(data):
                    answer.take(piece, now_s)
                if answer.is_endless:
                    break
                if answer.ends_by_s != patience.when():
                    # Only the end of the body can follow; do not wait forever for a server that never sends it.
                    patience.reschedule(answer.ends_by_s)
    except (aiohttp.ClientError, OSError, RefusedError) as error:
        if not (answer.is_over if isinstance(error, RefusedError) else answer.is_complete):
            answer.note_what_came()
            raise
    except BaseException:
        answer.note_what_came()
        raise
    answer.finish(clock())
