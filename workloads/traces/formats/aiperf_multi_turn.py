"""AIPerf's multi_turn: a session a line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec

from ...session import Pause, Session, Turn
from ..parsing.bounds import Milliseconds, OutputTokens
from ..parsing.format import TraceFormat, has_keys
from ..parsing.recorded_chat import UNSTATED_OUTPUT_TOKENS, estimated_tokens
from ..parsing.rows import Reading, Row
from ..parsing.session_ids import UniqueIds
from ..parsing.timing import StartTimes, Timing
from ..parsing.trace_error import BadRow


class _Text(msgspec.Struct):
    contents: list[str]


class _Turn(msgspec.Struct):
    text: str | None = None
    texts: list[str | _Text] | None = None
    timestamp: Milliseconds | None = None
    delay: Milliseconds | None = None
    role: str | None = None
    output_length: OutputTokens | None = None


class _Conversation(msgspec.Struct):
    turns: Annotated[list[_Turn], msgspec.Meta(min_length=1)]
    session_id: str | None = None


def _text(turn: _Turn, field: str) -> str:
    if (turn.text is None) == (turn.texts is None):
        raise BadRow(f"{field}.text", "expected either text or texts")
    if turn.text is not None:
        return turn.text
    parts = (part if isinstance(part, str) else "\n\n".join(part.contents) for part in turn.texts or ())
    return "\n\n".join(parts)


def _turns(conversation: _Conversation) -> Iterator[Turn]:
    timing = Timing()
    for index, turn in enumerate(conversation.turns):
        field = f"turns[{index}]"
        text = _text(turn, field)
        if turn.timestamp is not None and turn.delay is not None:
            raise BadRow(f"{field}.delay", "expected either timestamp or delay")
        untimed = Turn(
            estimated_tokens(text),
            turn.output_length or UNSTATED_OUTPUT_TOKENS,
            pause=Pause.TOOL if turn.role == "tool" else Pause.HUMAN,
            text=text,
        )
        yield timing.timed(untimed, turn.timestamp, turn.delay)


def _sessions(reading: Reading) -> Iterator[Session]:
    decoder = msgspec.json.Decoder(_Conversation)
    starts, ids = StartTimes(), UniqueIds("aiperf")

    def parse(row: Row) -> Session:
        conversation = decoder.decode(row.data)
        turns = tuple(_turns(conversation))
        sent_ms = conversation.turns[0].timestamp
        start_s = starts.start_s(None if sent_ms is None else sent_ms / 1000)
        return Session(ids.take(conversation.session_id, row.number), "chat", turns, start_s=start_s)

    return reading.parsed(reading.values(), parse)


FORMAT = TraceFormat(
    "AIPerf multi_turn: JSONL with session_id and turns of text or texts, timestamp or delay, output_length",
    has_keys("turns", but=("traffic_class",)),
    _sessions,
    has_timestamps=None,
)
