"""tau-bench: what an agent, its user and its tools said, a task a line."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ....engine.protocol.conversation import ContentPart
from ...session import Session
from ..parsing.format import TraceFormat, has_keys
from ..parsing.recorded_chat import Utterance, text_of, turns_of
from ..parsing.rows import Reading, Row
from ..parsing.session_ids import numbered_id


class _Function(msgspec.Struct):
    name: str
    arguments: str = ""


class _Call(msgspec.Struct):
    function: _Function


class _Message(msgspec.Struct):
    role: str
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_calls: list[_Call] | None = None


class _Task(msgspec.Struct):
    traj: list[_Message]


def _utterance(message: _Message) -> Utterance:
    """A call of a tool is part of what the server wrote."""
    calls = "".join(call.function.name + call.function.arguments for call in message.tool_calls or ())
    return Utterance(message.role, text_of(message.content) + calls, message.name)


def _sessions(reading: Reading) -> Iterator[Session]:
    decoder = msgspec.json.Decoder(_Task)

    def parse(row: Row) -> Session | None:
        turns = turns_of(map(_utterance, decoder.decode(row.data).traj))
        return Session(numbered_id("tau", row.number), "agent", turns) if turns else None

    return reading.parsed(reading.values(), parse)


FORMAT = TraceFormat(
    "tau-bench: trajectories with traj: [{role, content, tool_calls}]",
    has_keys("traj"),
    _sessions,
    has_timestamps=False,
)
