"""How long an answer may be, for the number of tokens that were asked for."""

from __future__ import annotations

from ...http.faults import TOO_MUCH, RefusedError
from ...http.limits import (
    ANSWER_BYTES,
    ANSWER_BYTES_PER_TOKEN,
    CHUNKS,
    CHUNKS_PER_TOKEN,
    EVENT_BYTES,
    EVENTS,
    EVENTS_PER_TOKEN,
    TEXT_CHARS,
    TEXT_CHARS_PER_TOKEN,
)


class AnswerBounds:
    """Counts what came of an answer.

    Attributes:
        num_bytes: Of its body, inflated.
        num_events: Of any kind.
        num_chunks: Events with content.
        num_chars: Of content of any kind.
    """

    def __init__(self, max_tokens: int) -> None:
        self.num_bytes = self.num_events = self.num_chunks = self.num_chars = 0
        self._max_tokens = max_tokens
        self._most_bytes = ANSWER_BYTES + ANSWER_BYTES_PER_TOKEN * max_tokens
        self._most_events = EVENTS + EVENTS_PER_TOKEN * max_tokens
        self._most_chunks = CHUNKS + CHUNKS_PER_TOKEN * max_tokens
        self._most_chars = TEXT_CHARS + TEXT_CHARS_PER_TOKEN * max_tokens

    def check(self) -> None:
        """Check everything.

        Raises:
            RefusedError: it is too much.
        """
        if self.num_bytes > self._most_bytes:
            what = f"{self._most_bytes:,} bytes"
        elif self.num_chars > self._most_chars:
            what = f"{self._most_chars:,} characters of text"
        elif self.num_chunks > self._most_chunks:
            what = f"{self._most_chunks:,} chunks"
        elif self.num_events > self._most_events:
            what = f"{self._most_events:,} events"
        else:
            return
        raise RefusedError(TOO_MUCH, f"more than {what}, where max_tokens is {self._max_tokens:,}")


def check_json(num_bytes: int) -> None:
    """Check the size of JSON that comes in place of a stream.

    Raises:
        RefusedError: it is too much.
    """
    if num_bytes > EVENT_BYTES:
        raise RefusedError(TOO_MUCH, f"a JSON answer of more than {EVENT_BYTES:,} bytes")
