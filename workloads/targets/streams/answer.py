"""An answer as it comes in: what of it is timed and kept, how much is read, and what failed."""

from __future__ import annotations

from collections.abc import Sequence

from ...http.events import ERROR_EVENT, EventReader, ServerSentEvent
from ...http.faults import BAD_RESPONSE, MALFORMED
from ...http.limits import BYTES_AFTER_END, END_OF_BODY_S, END_OF_STREAM_S, ERROR_BODY_BYTES, FINISH_REASON_CHARS
from ..target import Call, Reply
from ..wire.api import Api, Piece
from ..wire.failures import error_message
from ..wire.fields import KEEP_ALIVE
from ..wire.mending import mended
from .bounds import AnswerBounds, check_json
from .burst import came_at_once
from .thinking import Thinking
from .usage import NO_USAGE, note_usage

SERVER_ERROR = "server_error"
"""Class of failures: the server says that it failed, in the stream or by its finish reason."""
_FAILURES = frozenset(
    "error server_error internal_error failed abort aborted cancel cancelled canceled timeout "
    "insufficient_system_resource".split()
)
"""Finish reasons of answers that the server gave up on (vLLM, SGLang, TensorRT-LLM, DeepSeek)."""
_JSON_STARTS = (b"{", b"[", b"\xef\xbb\xbf{", b"\xef\xbb\xbf[")
_STREAM_STARTS = (b":", b"data", b"event", b"id", b"retry", b"\xef\xbb\xbf")
_SHOWN_BYTES = 300


class Answer:
    """An answer as it comes in.

    Attributes:
        is_over: Nothing of it follows: the server said so, or failed.
        was_read_late: Some of it may have waited for this process, which then found it all at once.
        ends_by_s: When reading should end, however the body goes on; None while there may be more of the answer.
    """

    def __init__(self, api: Api, call: Call, reply: Reply) -> None:
        self.is_over = self.was_read_late = False
        self.ends_by_s: float | None = None
        self._api, self._call, self._reply = api, call, reply
        self._reader = api.reader()
        self._events = EventReader()
        self._thinking = Thinking(reply)
        self._bounds = AnswerBounds(call.max_tokens)
        self._start = bytearray()
        """Of the body, as long as it has no event; all of it, where it is JSON in place of a stream."""
        self._is_json = self._was_read = False
        self._usage = b""
        self._usage_s: float | None = None
        """When the last event came, if it had token counts."""
        self._goes_on = False
        """Behind a finish reason: some servers give one with every chunk, or text after it."""
        self._malformed = b""
        """The start of the first event that could not be read."""
        self._num_arrivals = 0
        self._bytes_after_end = 0

    @property
    def is_complete(self) -> bool:
        """Whether the server said that the answer ends here."""
        return self.is_over or (self._reply.finished_s is not None and not self._goes_on)

    @property
    def is_endless(self) -> bool:
        """Whether too much followed its end."""
        return self._bytes_after_end > BYTES_AFTER_END

    def take(self, data: bytes, now_s: float) -> None:
        """Take in what arrived together.

        Raises:
            RefusedError: it is too much.
        """
        if self.is_over:
            self._bytes_after_end += len(data)
            if not (self.is_endless or self._is_json):
                self._take_events(self._events.take(data), now_s)
            return
        self._bounds.num_bytes += len(data)
        if not self._was_read:
            data = self._begin(data)
        if not self._is_json:
            self._take_events(self._events.take(data), now_s)
        if not self.is_over:
            self._bounds.check()

    def finish(self, now_s: float) -> None:
        """Take in the end of the body, and say what failed."""
        if self._is_json and not self.is_over:
            self._take_json(now_s)
        elif not self._is_json:
            self._take_events(self._events.finish(), now_s)
        reply = self._reply
        if reply.finished_s is None:
            reply.finished_s = self._usage_s  # an orderly end, though nothing says why the answer ends
        self.note_what_came()
        if reply.error is None:
            self._judge()

    def note_what_came(self) -> None:
        """Fill in what is known at the end alone, however the answer ended."""
        reply = self._reply
        self._thinking.finish()
        note_usage(self._usage, self._api, self._call, reply, self._bounds.num_chars)
        if not self.was_read_late and came_at_once(
            reply, self._num_arrivals, self._bounds.num_chunks, self._bounds.num_chars
        ):
            reply.was_streamed = False

    def _begin(self, data: bytes) -> bytes:
        """Look at the start of the body, as long as it has no event."""
        if not self._start:
            # Some gateways send blanks to keep the connection alive until they have an answer.
            data = data.lstrip()
            self._is_json = data.startswith(_JSON_STARTS)
        if self._is_json:
            check_json(len(self._start) + len(data))
            self._start += data
        elif len(self._start) < ERROR_BODY_BYTES:
            self._start += data[:ERROR_BODY_BYTES]
        return data

    def _take_json(self, now_s: float) -> None:
        reply, body = self._reply, bytes(self._start)
        reply.was_streamed = False
        for text in (body, mended(body)):
            try:
                piece = self._reader.read_whole(text.removeprefix(b"\xef\xbb\xbf"))
            except MALFORMED:
                continue
            self._was_read = True
            if self._take_piece(piece, body, now_s):
                self._num_arrivals += 1
                reply.saw_content(now_s)
            self.is_over = True
            if reply.finished_s is None and not piece.is_in_doubt:
                reply.finished_s = now_s
            return

    def _take_events(self, events: Sequence[ServerSentEvent], now_s: float) -> None:
        has_content, num_events = False, 0
        for event in events:
            if (event.name or not event.data) and _says_nothing(event):
                continue
            num_events += 1
            try:
                piece = self._reader.read_event(event)
            except MALFORMED:
                piece = self._read_mended(event)
            if self.is_over:
                self._take_late(piece)
            elif self._take_piece(piece, event.data, now_s):
                has_content = True
        self._bounds.num_events += num_events
        if has_content:
            # Events in one read arrived together: one arrival of several tokens.
            self._num_arrivals += 1
            self._reply.saw_content(now_s)

    def _read_mended(self, event: ServerSentEvent) -> Piece:
        """Read an event once more, without characters that are cut in two."""
        data = mended(event.data)
        try:
            return (
                Piece(is_in_doubt=True)
                if data == event.data
                else self._reader.read_event(ServerSentEvent(event.name, data))
            )
        except MALFORMED:
            return Piece(is_in_doubt=True)

    def _take_piece(self, piece: Piece, data: bytes, now_s: float) -> bool:
        """Take in one event; True if it had content."""
        reply = self._reply
        if piece.is_in_doubt:
            reply.malformed_events += 1
            self._malformed = self._malformed or data[:_SHOWN_BYTES]
        else:
            self._was_read = True
        self._usage_s = None
        if piece.usage not in NO_USAGE:
            self._usage, self._usage_s = piece.usage, now_s
        if piece.reasoning:
            self._thinking.take_reasoning(piece.reasoning)
        if piece.text:
            self._thinking.take_text(piece.text, now_s)
        if piece.num_other_chars:
            self._thinking.take_other(now_s)
        num_chars = len(piece.text) + len(piece.reasoning) + piece.num_other_chars
        if (
            piece.finish_reason
            or piece.is_end
            or piece.error is not None
            or (num_chars and reply.finished_s is not None)
        ):
            self._end(piece, num_chars > 0, now_s)
        if num_chars:
            self._bounds.num_chunks += 1
            self._bounds.num_chars += num_chars
        return num_chars > 0

    def _end(self, piece: Piece, has_content: bool, now_s: float) -> None:
        """Take in that the answer ends, or that it goes on although it had ended."""
        reply = self._reply
        if has_content and reply.finished_s is not None:
            self._goes_on = True
        if piece.finish_reason:
            reply.finish_reason = piece.finish_reason[:FINISH_REASON_CHARS]
        if piece.finish_reason or has_content or reply.finished_s is None:
            reply.finished_s = now_s
        if piece.error is not None:
            reply.fail(SERVER_ERROR, piece.error)
        if piece.is_end or piece.error is not None:
            self.is_over, self.ends_by_s = True, now_s + END_OF_BODY_S
        else:
            self.ends_by_s = None if self._goes_on else now_s + END_OF_STREAM_S

    def _take_late(self, piece: Piece) -> None:
        """Take in what follows the end. Text there belongs to nothing; counts of tokens do."""
        if self._reply.error is not None:
            return
        if piece.text or piece.reasoning or piece.num_other_chars or piece.is_in_doubt:
            self._reply.malformed_events += 1
        if piece.usage not in NO_USAGE:
            self._usage = piece.usage

    def _judge(self) -> None:
        """Say what failed, now that nothing more will come."""
        reply = self._reply
        if self._malformed and reply.first_s is None:
            shown = " ".join(self._malformed.decode(errors="replace").split())
            reply.fail(BAD_RESPONSE, f"no content, and {reply.malformed_events} events that cannot be read: {shown}")
        elif reply.finished_s is None:
            start = bytes(self._start)
            if start and not self._was_read and (self._is_json or not start.startswith(_STREAM_STARTS)):
                reply.fail(BAD_RESPONSE, f"not an event stream: {error_message(start)}")
            else:
                reply.fail("disconnected", "the stream ended before the answer was complete")
        elif (reply.finish_reason or "").lower() in _FAILURES:
            reply.fail(SERVER_ERROR, f"the server gave up on the answer: finish_reason {reply.finish_reason!r}")
        elif reply.first_s is not None:
            return
        else:
            reply.fail("empty", f"the server answered without any content: finish_reason {reply.finish_reason!r}")


def _says_nothing(event: ServerSentEvent) -> bool:
    return event.name.lower() in KEEP_ALIVE or not (event.data or event.name == ERROR_EVENT)
