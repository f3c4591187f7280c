"""Request bodies: never inflated, and bounded in bytes and time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aiohttp import HttpVersion11, web

from ...errors import QueueFullError, RequestError
from .answers import error_response

_SHOWN_CHARACTERS = 40
"""Of a header's value in an error message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyLimits:
    """How large and how slow request bodies may be.

    Attributes:
        most_bytes: In one body.
        option: How to raise `most_bytes`, for the error message.
        most_bytes_together: In all bodies that are being read. 512 MiB: 128 of the largest that the servers take by
            default, or 32 KiB for each of 16,384 connections.
        grace_s: How long any body may take. 30 s is many times what a chat's body needs on a slow link.
        least_bytes_per_s: A larger one may take longer, at this speed: 64 KiB/s, half a megabit.
    """

    most_bytes: int
    option: str | None = None
    most_bytes_together: int = 512 << 20
    grace_s: float = 30.0
    least_bytes_per_s: float = 64 << 10


class Bodies:
    """Reads the bodies of a server's requests."""

    def __init__(self, limits: BodyLimits) -> None:
        self._limits = limits
        self._num_bytes = 0
        """Of those being read."""

    async def read(self, request: web.Request) -> bytes:
        """The whole body, as it was sent.

        Nothing is read of a body that is compressed, or that says it is too large.

        Raises:
            RequestError: it is compressed (415), too large (413), too slow (408) or malformed (400).
            QueueFullError: too much is being read already (429).
        """
        coding = ", ".join(request.headers.getall("Content-Encoding", [])).strip().lower()
        if coding not in ("", "identity"):
            raise RequestError(
                f"a body with Content-Encoding {coding[:_SHOWN_CHARACTERS]!r} is not accepted: send it uncompressed",
                status=415,
                code="unsupported_content_encoding",
            )
        if (request.content_length or 0) > self._limits.most_bytes:
            raise self._too_large()
        if request.headers.get("Expect") and request.version >= HttpVersion11:
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # the answer itself has not begun
        try:
            return await self._read(request)
        except TimeoutError:
            raise RequestError("the body came too slowly", status=408, code="body_too_slow") from None
        except web.RequestPayloadError as error:
            raise RequestError("the body is not framed as HTTP wants it", code="invalid_body") from error

    async def _read(self, request: web.Request) -> bytes:
        chunks: list[bytes] = []
        size = 0
        start_s = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._limits.grace_s) as late:
                async for chunk in request.content.iter_any():
                    chunks.append(chunk)
                    size += len(chunk)
                    self._num_bytes += len(chunk)
                    self._check_size(size)
                    late.reschedule(start_s + self._limits.grace_s + size / self._limits.least_bytes_per_s)
        finally:
            self._num_bytes -= size
        return b"".join(chunks)

    def _check_size(self, size: int) -> None:
        if size > self._limits.most_bytes:
            raise self._too_large()
        if self._num_bytes > max(self._limits.most_bytes, self._limits.most_bytes_together):
            raise QueueFullError("too many large bodies are being read at the same time; try again")

    def _too_large(self) -> RequestError:
        hint = f" ({self._limits.option})" if self._limits.option else ""
        message = f"the body is over the limit of {self._limits.most_bytes} bytes{hint}"
        return RequestError(message, status=413, code="body_too_large")


BODIES: web.AppKey[Bodies] = web.AppKey("bodies", Bodies)


async def leave_continue_to_reading(request: web.Request) -> web.StreamResponse | None:
    """A route's `expect_handler`: a client is told to go on once its body is wanted, not before its key is checked."""
    expected = request.headers.get("Expect", "")
    if request.version >= HttpVersion11 and expected.lower() != "100-continue":
        message = f"'Expect: {expected[:_SHOWN_CHARACTERS]}' cannot be met"
        return error_response(RequestError(message, status=417, code="expectation_failed"), request)
    return None
