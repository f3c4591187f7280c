"""ShareGPT: a list of conversations."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ...session import Session
from ..parsing.format import TraceFormat, has_keys
from ..parsing.recorded_chat import Utterance, turns_of
from ..parsing.rows import Reading, Row
from ..parsing.session_ids import numbered_id

_SERVER = frozenset(("gpt", "chatgpt", "bing", "bard", "assistant"))


class _Message(msgspec.Struct):
    speaker: str = msgspec.field(name="from")
    value: str


class _Conversation(msgspec.Struct):
    conversations: list[_Message]


def _sessions(reading: Reading) -> Iterator[Session]:
    decoder = msgspec.json.Decoder(_Conversation)

    def parse(row: Row) -> Session | None:
        """None for a conversation in which nothing is answered: the data set has thousands."""
        turns = turns_of(
            Utterance("assistant" if message.speaker in _SERVER else message.speaker, message.value)
            for message in decoder.decode(row.data).conversations
        )
        return Session(numbered_id("sharegpt", row.number), "chat", turns) if turns else None

    return reading.parsed(reading.values(), parse)


FORMAT = TraceFormat(
    "ShareGPT: a JSON list of {conversations: [{from, value}]}",
    has_keys("conversations"),
    _sessions,
    has_timestamps=False,
)
