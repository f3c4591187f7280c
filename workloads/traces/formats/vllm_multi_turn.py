"""vLLM's multi-turn benchmark: a list of conversations."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ....engine.protocol.conversation import ContentPart
from ...session import Session
from ..parsing.format import TraceFormat, has_keys
from ..parsing.recorded_chat import Utterance, text_of, turns_of
from ..parsing.rows import Reading, Row
from ..parsing.session_ids import UniqueIds


class _Message(msgspec.Struct):
    role: str
    content: str | list[ContentPart] | None = None


class _Conversation(msgspec.Struct):
    id: str | int
    messages: list[_Message]


def _sessions(reading: Reading) -> Iterator[Session]:
    decoder = msgspec.json.Decoder(_Conversation)
    ids = UniqueIds("vllm")

    def parse(row: Row) -> Session | None:
        """None for a conversation in which nothing is answered."""
        conversation = decoder.decode(row.data)
        turns = turns_of(Utterance(message.role, text_of(message.content)) for message in conversation.messages)
        return Session(ids.take(str(conversation.id), row.number), "chat", turns) if turns else None

    return reading.parsed(reading.values(), parse)


FORMAT = TraceFormat(
    "vLLM multi-turn: a JSON list of {id, messages: [{role, content}]}",
    has_keys("id", "messages"),
    _sessions,
    has_timestamps=False,
)
