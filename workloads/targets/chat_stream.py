"""Reads the event stream that answers a chat request, and times its chunks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import aiohttp
import msgspec

from ...engine.protocol import ErrorBody
from .target import Reply

_MAX_EVENT_BYTES = 16 << 20
_DONE = b"[DONE]"
_END_OF_BODY_S = 1.0
_FAILURES = frozenset(
    "error server_error internal_error failed abort aborted cancel cancelled canceled timeout "
    "insufficient_system_resource".split()
)
"""Finish reasons of answers that the server gave up on (vLLM, SGLang, TensorRT-LLM, DeepSeek)."""


class BadStreamError(Exception):
    """What the server sends is not an event stream."""


class _Delta(msgspec.Struct):
    """What may count as content. Only the presence of tool calls matters: servers send them in pieces of all shapes."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: Any = None


class _Choice(msgspec.Struct):
    """The part of a chunk that matters for timing. Everything else is skipped unparsed."""

    delta: _Delta | None = None
    finish_reason: str | None = None


class _CachedTokens(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _CachedTokens | None = None


class _Event(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


_event_decoder = msgspec.json.Decoder(_Event)


async def read_chat_stream(content: aiohttp.StreamReader, reply: Reply) -> None:
    """Read an answer to the end of its stream, so that the connection can be used again.

    Raises:
        BadStreamError: an event is too long.
        msgspec.DecodeError, UnicodeDecodeError, RecursionError: an event is malformed.
        aiohttp.ClientError, OSError, TimeoutError: the connection failed, or took too long.
    """
    loop = asyncio.get_running_loop()
    buffer = bytearray()
    is_done = False
    try:
        async with asyncio.timeout(None) as patience:
            async for data in content.iter_any():
                now_s = loop.time()
                buffer += data
                has_content = False
                for payload in _take_events(buffer):
                    if payload == _DONE:
                        is_done = True
                        # Only the end of the body can follow; do not wait forever for a server that never sends it.
                        patience.reschedule(now_s + _END_OF_BODY_S)
                    elif not is_done:
                        has_content = _read_event(payload, reply, now_s) or has_content
                if has_content:
                    # Events in one read arrived together: one arrival of several tokens.
                    reply.saw_content(now_s)
    except TimeoutError:
        if not is_done:
            raise
    if reply.error is not None:
        return
    if reply.finish_reason is None:
        rest = bytes(buffer[:200]).decode(errors="replace").strip()
        if reply.first_s is None and rest:
            reply.fail("bad_response", f"not an event stream: {error_message(bytes(buffer)) or rest}")
        else:
            reply.fail("disconnected", "the stream ended before the answer was complete")
    elif reply.finish_reason.lower() in _FAILURES:
        reply.fail("given_up", f"the server gave up on the answer: finish_reason {reply.finish_reason!r}")
    elif reply.first_s is None:
        reply.fail("empty", f"the server answered without any content: finish_reason {reply.finish_reason!r}")


def _read_event(payload: bytes, reply: Reply, now_s: float) -> bool:
    """Take in one event; True if it had content."""
    event = _event_decoder.decode(payload)
    if event.error is not None:
        reply.fail("server_error", error_message(payload))
    has_content = False
    for choice in event.choices or ():
        delta = choice.delta
        if delta is not None and (delta.content or delta.reasoning_content or delta.reasoning or delta.tool_calls):
            has_content = True
            if delta.content:
                reply.text.append(delta.content)
            if reasoning := delta.reasoning_content or delta.reasoning:
                reply.reasoning.append(reasoning)
        if choice.finish_reason:
            reply.finish_reason = choice.finish_reason
            reply.finished_s = now_s
    if event.usage is not None:
        reply.prompt_tokens = event.usage.prompt_tokens
        reply.output_tokens = event.usage.completion_tokens
        if event.usage.prompt_tokens_details is not None:
            reply.cached_tokens = event.usage.prompt_tokens_details.cached_tokens
    return has_content


def _take_events(buffer: bytearray) -> Iterator[bytes]:
    """Remove the complete lines from `buffer` and yield the payload of each `data:` line among them.

    Every server writes an event's JSON on one line, so events are not assembled from several lines.
    """
    end = buffer.rfind(b"\n")
    if end < 0:
        if len(buffer) > _MAX_EVENT_BYTES:
            raise BadStreamError(f"an event of more than {_MAX_EVENT_BYTES} bytes")
        return
    lines = bytes(buffer[:end]).split(b"\n")
    del buffer[: end + 1]
    for line in lines:
        if line.startswith(b"data:"):
            yield line[5:].strip()


def error_message(body: bytes) -> str:
    """The message in an error body, in OpenAI's format or any other."""
    try:
        return msgspec.json.decode(body, type=ErrorBody).error.message
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = " ".join(body[:300].decode(errors="replace").split())
        return "(an HTML page)" if text.startswith("<") else text or "(no text)"
