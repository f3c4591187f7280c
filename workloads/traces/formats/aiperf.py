"""AIPerf's superset of Mooncake: a request a line, synthetic or verbatim, in sessions or alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import msgspec

from ...session import Pause, Session, Turn
from ..parsing.block_chain import TRACE_SCOPE, BlockChain
from ..parsing.bounds import InputTokens, Milliseconds, OutputTokens, SessionName
from ..parsing.format import Sample, TraceFormat
from ..parsing.recorded_chat import NOTHING, UNSTATED_OUTPUT_TOKENS, MessageChain, estimated_tokens, last_pause, text_of
from ..parsing.request_body import Messages, RequestBody, body_turn
from ..parsing.rows import Reading, Row
from ..parsing.session_rows import RowFormat, RowKey
from ..parsing.timing import Timing
from ..parsing.trace_error import BadRow
from .mooncake import BLOCK_TOKENS, check_blocks

_INPUTS = ("input_length", "text_input", "messages", "payload")


class _Request(msgspec.Struct):
    input_length: InputTokens | None = None
    text_input: str | None = None
    messages: Messages | None = None
    payload: RequestBody | None = None
    output_length: OutputTokens | None = None
    hash_ids: list[int] | None = None
    timestamp: Milliseconds | None = None
    delay: Milliseconds | None = None
    tools: msgspec.Raw = NOTHING
    message_mode: Literal["history", "delta"] = "history"


class _Key(msgspec.Struct):
    session_id: SessionName | None = None
    timestamp: Milliseconds | None = None


class _SessionBuilder:
    """Makes the turns of one session."""

    prefix = None

    def __init__(self, decoder: msgspec.json.Decoder[_Request]) -> None:
        self._decoder = decoder
        self._blocks = BlockChain(TRACE_SCOPE, BLOCK_TOKENS)
        self._messages = MessageChain()
        self._timing = Timing()

    def turn(self, row: Row) -> Turn:
        """The turn of the next row."""
        request = self._decoder.decode(row.data)
        given = [name for name in _INPUTS if getattr(request, name) is not None]
        if len(given) != 1:
            raise BadRow(given[1] if given else _INPUTS[0], f"expected exactly one of {', '.join(_INPUTS)}")
        if request.hash_ids is not None and request.input_length is None:
            raise BadRow("hash_ids", "needs input_length")
        return self._timing.timed(self._untimed(request), request.timestamp, request.delay)

    def _untimed(self, request: _Request) -> Turn:
        """`input_length` and `text_input` are what a turn adds, for AIPerf keeps the conversation. The rest are whole
        prompts, if `message_mode` does not say otherwise.
        """
        output_tokens = request.output_length or UNSTATED_OUTPUT_TOKENS
        if request.payload is not None:
            turn = body_turn(request.payload, self._messages, "payload")
            return turn if request.output_length is None else replace(turn, output_tokens=output_tokens)
        if request.messages is not None and request.message_mode == "history":
            prompt, new_tokens = self._messages.prompt(request.messages, request.tools)
            return Turn(new_tokens, output_tokens, pause=last_pause(request.messages), prompt=prompt)
        if request.messages is not None:
            text = "\n\n".join(text_of(message.content) for message in request.messages)
            return Turn(estimated_tokens(text), output_tokens, pause=last_pause(request.messages), text=text)
        if request.text_input is not None:
            text = request.text_input
            return Turn(estimated_tokens(text), output_tokens, pause=Pause.HUMAN, text=text)
        input_length = request.input_length or 0
        if not request.hash_ids and (request.hash_ids is None or not input_length):
            return Turn(max(1, input_length), output_tokens, pause=Pause.HUMAN)
        check_blocks(request.hash_ids, input_length)
        blocks, new_tokens = self._blocks.prompt(request.hash_ids, input_length)
        return Turn(new_tokens, output_tokens, pause=Pause.HUMAN, prompt=blocks)


def _sessions(reading: Reading) -> Iterator[Session]:
    keys, requests = msgspec.json.Decoder(_Key), msgspec.json.Decoder(_Request)

    def key(row: Row) -> RowKey:
        found = keys.decode(row.data)
        return RowKey(found.session_id, None if found.timestamp is None else found.timestamp / 1000)

    row_format = RowFormat("aiperf", "chat", key, lambda _: _SessionBuilder(requests))
    # To look for the word is much quicker than to decode every row, and most traces have no sessions.
    look = Reading(reading.path, skip_bad_rows=True)
    has_sessions = any(b'"session_id"' in row.data for row in look.lines())
    return (row_format.grouped if has_sessions else row_format.single)(reading, reading.lines())


def _matches(sample: Sample) -> bool:
    return bool(sample.keys.intersection(_INPUTS)) and "id" not in sample.keys


FORMAT = TraceFormat(
    "AIPerf: JSONL with one of input_length, text_input, messages, payload; optionally session_id, delay, timestamp",
    _matches,
    _sessions,
    has_timestamps=None,
)
