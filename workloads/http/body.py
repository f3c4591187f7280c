"""Bodies of responses, read as far as a limit."""

from __future__ import annotations

import aiohttp

TOO_MUCH = "too_much"
"""Class of failures: the server sent more than the client reads."""
BAD_RESPONSE = "bad_response"
"""Class of failures: what the server sent is not what it should be."""


class RefusedError(Exception):
    """What a server sends is not read, or not read any further.

    Attributes:
        kind: The class of failure.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def refuse_compression(response: aiohttp.ClientResponse) -> None:
    """A few bytes may inflate to gigabytes, and a compressing proxy holds back events until it has enough of them.

    Raises:
        RefusedError: the body is compressed, which the client did not ask for.
    """
    encoding = response.headers.get("Content-Encoding", "")
    if encoding and encoding.lower() != "identity":
        raise RefusedError(
            BAD_RESPONSE, f"the body is compressed ({printable(encoding, 40)}), and the client asks for identity"
        )


async def read_start(response: aiohttp.ClientResponse, most_bytes: int) -> tuple[bytes, bool]:
    """The first `most_bytes` of a body, and whether that is all of it. What follows stays unread."""
    body = bytearray()
    async for data in response.content.iter_any():
        body += data
        if len(body) > most_bytes:
            return bytes(body[:most_bytes]), False
    return bytes(body), True


async def read_body(response: aiohttp.ClientResponse, most_bytes: int) -> bytes:
    """A whole body.

    Raises:
        RefusedError: it is compressed, or has more than `most_bytes`.
    """
    refuse_compression(response)
    body, is_whole = await read_start(response, most_bytes)
    if not is_whole:
        raise RefusedError(TOO_MUCH, f"the body has more than {most_bytes:,} bytes")
    return body


def printable(text: str, most_chars: int) -> str:
    """Text of a header, fit for one line: headers may hold any bytes."""
    return "".join(char if char.isprintable() else "?" for char in text[:most_chars])


def http_fault(error: BaseException) -> str:
    """What is wrong with a response that is no HTTP: the first line of what the library says, without the bytes."""
    lines = str(getattr(error, "message", error)).strip().splitlines()
    return lines[0].rstrip(":") if lines else type(error).__name__
