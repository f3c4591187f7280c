"""Bodies of responses, inflated where they are compressed, and read as far as a limit."""

from __future__ import annotations

import aiohttp

from .faults import TOO_MUCH, RefusedError
from .inflating import inflater_of
from .limits import ERROR_BODY_BYTES


async def read_start(response: aiohttp.ClientResponse, most_bytes: int) -> tuple[bytes, bool]:
    """The first `most_bytes` of a body, and whether that is all of it. What follows stays unread.

    Raises:
        RefusedError: it is compressed in a way that nothing here inflates.
    """
    body, inflater = bytearray(), inflater_of(response)
    async for data in response.content.iter_any():
        for piece in (data,) if inflater is None else inflater.pieces(data):
            body += piece
            if len(body) > most_bytes:
                return bytes(body[:most_bytes]), False
    return bytes(body), True


async def read_body(response: aiohttp.ClientResponse, most_bytes: int) -> bytes:
    """A whole body.

    Raises:
        RefusedError: it is compressed in a way that nothing here inflates, or has more than `most_bytes`.
    """
    body, is_whole = await read_start(response, most_bytes)
    if not is_whole:
        raise RefusedError(TOO_MUCH, f"the body has more than {most_bytes:,} bytes")
    return body


async def read_error_body(response: aiohttp.ClientResponse) -> bytes:
    """The start of an error's body. Of one that cannot be inflated: why not, as its status is worth keeping."""
    try:
        body, _ = await read_start(response, ERROR_BODY_BYTES)
    except RefusedError as error:
        return str(error).encode()
    return body
