"""BFCL's multi-turn tasks: questions, without answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec

from ....engine.protocol.conversation import ContentPart
from ...session import Pause, Session, Turn
from ..parsing.format import TraceFormat, has_keys
from ..parsing.recorded_chat import NOTHING, estimated_tokens, raw_text, text_of
from ..parsing.rows import Reading, Row
from ..parsing.session_ids import UniqueIds

OUTPUT_TOKENS = 55
"""The tasks have no answers; this is the median of an agent that calls tools."""


class _Message(msgspec.Struct):
    role: str
    content: str | list[ContentPart] | None = None


class _Task(msgspec.Struct):
    id: str
    question: Annotated[list[list[_Message]], msgspec.Meta(min_length=1)]
    function: msgspec.Raw = NOTHING


def _turn(messages: list[_Message], tools: str, *, is_first: bool) -> Turn:
    # A question can be empty: then functions are added that were missing before.
    text = "\n\n".join(text_of(message.content) for message in messages) or "More functions are available now."
    text = f"{tools}\n\n{text}" if tools else text
    return Turn(estimated_tokens(text), OUTPUT_TOKENS, pause=Pause.NONE if is_first else Pause.HUMAN, text=text)


def _sessions(reading: Reading) -> Iterator[Session]:
    decoder = msgspec.json.Decoder(_Task)
    ids = UniqueIds("bfcl")

    def parse(row: Row) -> Session:
        task = decoder.decode(row.data)
        tools = raw_text(task.function)
        turns = tuple(
            _turn(messages, "" if index else tools, is_first=not index) for index, messages in enumerate(task.question)
        )
        return Session(ids.take(task.id, row.number), "agent", turns)

    return reading.parsed(reading.values(), parse)


FORMAT = TraceFormat(
    "BFCL multi-turn: JSONL with id and question: [[{role, content}]]",
    has_keys("id", "question"),
    _sessions,
    has_timestamps=False,
)
