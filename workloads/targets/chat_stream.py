"""Reads the event stream that answers a chat request, and times its chunks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import aiohttp
import msgspec

from ...engine.protocol.failures import ErrorBody
from ..http.body import BAD_RESPONSE, TOO_MUCH, RefusedError
from ..http.limits import (
    ANSWER_BYTES,
    ANSWER_BYTES_PER_TOKEN,
    BYTES_AFTER_DONE,
    CHUNKS,
    CHUNKS_PER_TOKEN,
    ERROR_BODY_BYTES,
    EVENT_BYTES,
    FINISH_REASON_CHARS,
    TEXT_CHARS,
    TEXT_CHARS_PER_TOKEN,
)
from .target import Call, Reply
from .usage import NO_USAGE, note_usage

_DONE = b"[DONE]"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_END_OF_BODY_S = 1.0
_FAILURES = frozenset(
    "error server_error internal_error failed abort aborted cancel cancelled canceled timeout "
    "insufficient_system_resource".split()
)
"""Finish reasons of answers that the server gave up on (vLLM, SGLang, TensorRT-LLM, DeepSeek)."""
_NO_TOOL_CALLS = (b"null", b"[]")


class _Delta(msgspec.Struct):
    """What may count as content. Only the presence of tool calls matters: servers send them in pieces of all shapes."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: msgspec.Raw = msgspec.Raw()


class _Choice(msgspec.Struct):
    """The part of a chunk that matters for timing. Everything else is skipped unparsed."""

    delta: _Delta | None = None
    finish_reason: str | None = None


class _Event(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


_event_decoder = msgspec.json.Decoder(_Event)


async def read_chat_stream(content: aiohttp.StreamReader, call: Call, reply: Reply) -> None:
    """Read an answer to the end of its stream, so that the connection can be used again.

    Raises:
        RefusedError: it is longer than an answer to this call can be.
        msgspec.DecodeError, UnicodeDecodeError, RecursionError: an event is malformed.
        aiohttp.ClientError, OSError, TimeoutError: the connection failed, or took too long.
    """
    loop = asyncio.get_running_loop()
    answer = _Answer(call, reply)
    try:
        async with asyncio.timeout(None) as patience:
            async for data in content.iter_any():
                was_done = answer.is_done
                answer.take(data, loop.time())
                if not answer.is_done:
                    continue
                if answer.bytes_after_done > BYTES_AFTER_DONE:
                    break
                if not was_done:
                    # Only the end of the body can follow; do not wait forever for a server that never sends it.
                    patience.reschedule(loop.time() + _END_OF_BODY_S)
    except TimeoutError:
        if not answer.is_done:
            raise
    finally:
        answer.note_usage()
    answer.judge()


class _Answer:
    """An answer as it comes in."""

    def __init__(self, call: Call, reply: Reply) -> None:
        self.is_done = False
        self.bytes_after_done = 0
        self._call, self._reply = call, reply
        self._lines = _Lines()
        self._start = bytearray()
        """Of the body, as long as it has no event."""
        self._usage = b""
        self._num_events = self._num_chunks = self._num_chars = self._num_bytes = 0
        self._most_bytes = ANSWER_BYTES + ANSWER_BYTES_PER_TOKEN * call.max_tokens
        self._most_chars = TEXT_CHARS + TEXT_CHARS_PER_TOKEN * call.max_tokens
        self._most_chunks = CHUNKS + CHUNKS_PER_TOKEN * call.max_tokens

    def take(self, data: bytes, now_s: float) -> None:
        """Take in what arrived together.

        Raises:
            RefusedError: it is too much.
        """
        if self.is_done:
            self.bytes_after_done += len(data)
            return
        self._num_bytes += len(data)
        if not self._num_events and len(self._start) < ERROR_BODY_BYTES:
            self._start += data[:ERROR_BODY_BYTES]
        has_content = False
        for line in self._lines.take(data):
            if line.startswith(b"data:"):
                payload = line[5:].strip()
                if payload == _DONE:
                    self.is_done = True
                    break
                has_content = self._read_event(payload, now_s) or has_content
        if has_content:
            # Events in one read arrived together: one arrival of several tokens.
            self._reply.saw_content(now_s)
        self._refuse_excess()

    def note_usage(self) -> None:
        """Fill in the token counts that came last."""
        note_usage(self._usage, self._call, self._reply, self._num_chars)

    def judge(self) -> None:
        """Say what failed, now that nothing more will come."""
        reply = self._reply
        if reply.error is not None:
            return
        if reply.finish_reason is None:
            start = bytes(self._start)
            if not self._num_events and not self.is_done and start.strip():
                reply.fail(BAD_RESPONSE, f"not an event stream: {error_message(start)}")
            else:
                reply.fail("disconnected", "the stream ended before the answer was complete")
        elif reply.finish_reason.lower() in _FAILURES:
            reply.fail("given_up", f"the server gave up on the answer: finish_reason {reply.finish_reason!r}")
        elif reply.first_s is None:
            reply.fail("empty", f"the server answered without any content: finish_reason {reply.finish_reason!r}")

    def _read_event(self, payload: bytes, now_s: float) -> bool:
        """Take in one event; True if it had content."""
        reply, event = self._reply, _event_decoder.decode(payload)
        self._num_events += 1
        has_content = False
        for choice in event.choices or ():
            delta = choice.delta
            if delta is not None:
                if delta.content:
                    has_content = True
                    reply.text.append(delta.content)
                    self._num_chars += len(delta.content)
                if reasoning := delta.reasoning_content or delta.reasoning:
                    has_content = True
                    reply.reasoning.append(reasoning)
                    self._num_chars += len(reasoning)
                if delta.tool_calls and (calls := bytes(delta.tool_calls)) not in _NO_TOOL_CALLS:
                    has_content = True
                    self._num_chars += len(calls)
            if choice.finish_reason:
                reply.finish_reason = choice.finish_reason[:FINISH_REASON_CHARS]
                reply.finished_s = now_s
        if event.usage and (usage := bytes(event.usage)) not in NO_USAGE:
            self._usage = usage
        if event.error and bytes(event.error) != b"null":
            reply.fail("server_error", error_message(payload))
        self._num_chunks += has_content
        return has_content

    def _refuse_excess(self) -> None:
        if self._num_bytes > self._most_bytes:
            what = f"{self._most_bytes:,} bytes"
        elif self._num_chars > self._most_chars:
            what = f"{self._most_chars:,} characters of text"
        elif self._num_chunks > self._most_chunks:
            what = f"{self._most_chunks:,} chunks"
        else:
            return
        if not self.is_done:
            raise RefusedError(TOO_MUCH, f"more than {what}, where max_tokens is {self._call.max_tokens:,}")


class _Lines:
    """Cuts a stream into lines, whichever way it comes in pieces, and whichever of LF, CR LF and CR ends them.

    Every server writes an event's JSON on one line, so events are not assembled from several lines.
    """

    def __init__(self) -> None:
        self._rest = bytearray()
        self._is_first = True

    def take(self, data: bytes) -> Sequence[bytes]:
        """The lines that are complete now.

        Raises:
            RefusedError: one is too long.
        """
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        if not end:
            self._rest += data
            if len(self._rest) > EVENT_BYTES:
                raise RefusedError(TOO_MUCH, f"an event of more than {EVENT_BYTES:,} bytes")
            return ()
        if self._rest:
            data, end = bytes(self._rest) + data, len(self._rest) + end
            self._rest.clear()
        lines = data[:end].splitlines()
        self._rest += data[end:]
        if self._is_first:
            self._is_first = False
            lines[0] = lines[0].removeprefix(_BYTE_ORDER_MARK)
        return lines


def error_message(body: bytes) -> str:
    """The message in an error body, in OpenAI's format or any other."""
    try:
        return msgspec.json.decode(body, type=ErrorBody).error.message
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = " ".join(body[:300].decode(errors="replace").split())
        return "(an HTML page)" if text.startswith("<") else text or "(no text)"
