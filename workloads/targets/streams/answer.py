"""Reads a streamed answer, and times its chunks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import aiohttp

from ...http.body import BAD_RESPONSE, TOO_MUCH, RefusedError
from ...http.events import EventReader, ServerSentEvent
from ...http.limits import (
    ANSWER_BYTES,
    ANSWER_BYTES_PER_TOKEN,
    BYTES_AFTER_DONE,
    CHUNKS,
    CHUNKS_PER_TOKEN,
    ERROR_BODY_BYTES,
    FINISH_REASON_CHARS,
    TEXT_CHARS,
    TEXT_CHARS_PER_TOKEN,
)
from ..target import Call, Reply
from ..wire.api import Api
from ..wire.failures import error_message
from .usage import NO_USAGE, note_usage

_END_OF_BODY_S = 1.0
_FAILURES = frozenset(
    "error server_error internal_error failed abort aborted cancel cancelled canceled timeout "
    "insufficient_system_resource".split()
)
"""Finish reasons of answers that the server gave up on (vLLM, SGLang, TensorRT-LLM, DeepSeek)."""


async def read_answer(content: aiohttp.StreamReader, api: Api, call: Call, reply: Reply) -> None:
    """Read an answer to the end of its stream, so that the connection can be used again.

    Raises:
        RefusedError: it is longer than an answer to this call can be.
        msgspec.DecodeError, UnicodeDecodeError, RecursionError: an event is malformed.
        aiohttp.ClientError, OSError, TimeoutError: the connection failed, or took too long.
    """
    loop = asyncio.get_running_loop()
    answer = Answer(api, call, reply)
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
        answer.finish(loop.time())
    except TimeoutError:
        if not answer.is_done:
            raise
    finally:
        answer.note_usage()
    answer.judge()


class Answer:
    """An answer as it comes in."""

    def __init__(self, api: Api, call: Call, reply: Reply) -> None:
        self.is_done = False
        self.bytes_after_done = 0
        self._api, self._call, self._reply = api, call, reply
        self._reader = api.reader()
        self._events = EventReader()
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
        self._take_events(self._events.take(data), now_s)
        self._refuse_excess()

    def finish(self, now_s: float) -> None:
        """Take in the end of the body, which may complete an event."""
        if not self.is_done:
            self._take_events(self._events.finish(), now_s)

    def note_usage(self) -> None:
        """Fill in the token counts that came last."""
        note_usage(self._usage, self._api, self._call, self._reply, self._num_chars)

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

    def _take_events(self, events: Sequence[ServerSentEvent], now_s: float) -> None:
        has_content = False
        for event in events:
            if event.data and self._take_event(event, now_s):
                has_content = True
            if self.is_done:
                break
        if has_content:
            # Events in one read arrived together: one arrival of several tokens.
            self._reply.saw_content(now_s)

    def _take_event(self, event: ServerSentEvent, now_s: float) -> bool:
        """Take in one event; True if it had content."""
        reply, piece = self._reply, self._reader.read_event(event)
        self._num_events += 1
        self.is_done = piece.is_end
        num_chars = len(piece.text) + len(piece.reasoning) + piece.num_other_chars
        if num_chars:
            self._num_chunks += 1
            self._num_chars += num_chars
            if piece.text:
                reply.text.append(piece.text)
            if piece.reasoning:
                reply.reasoning.append(piece.reasoning)
        if piece.finish_reason:
            reply.finish_reason = piece.finish_reason[:FINISH_REASON_CHARS]
            reply.finished_s = now_s
        if piece.usage not in NO_USAGE:
            self._usage = piece.usage
        if piece.error is not None:
            reply.fail("server_error", piece.error)
        return num_chars > 0

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
