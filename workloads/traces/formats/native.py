"""abatch's own format: a session a line, with all that a session can say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec

from ....engine.protocol.conversation import ChatMessage
from ...session import BlockPrompt, MessagePrompt, Pause, Session, SharedPrefix, Turn
from ...traffic_classes import RESERVED
from ..parsing.bounds import LONGEST_TIME_S, MOST_TOKENS, InputTokens, OutputTokens, Seconds
from ..parsing.format import TraceFormat, has_keys
from ..parsing.rows import Reading, Row
from ..parsing.trace_error import BadRow

_Name = Annotated[str, msgspec.Meta(pattern=r"^\S+\Z")]
_Class = Annotated[str, msgspec.Meta(pattern=r"^[^\s,]+\Z", max_length=200)]
"""A comma would end the tag of its histograms in their log."""
_Positive = Annotated[float, msgspec.Meta(gt=0, le=LONGEST_TIME_S)]
_ZERO_S = 0.0
"""One object, for msgspec leaves out a number that is the default itself, not one that is equal to it."""
_Count = Annotated[int, msgspec.Meta(ge=0, le=MOST_TOKENS)]


class _Blocks(msgspec.Struct, tag_field="kind", tag="blocks", omit_defaults=True):
    scope: str
    block_tokens: _Positive
    tokens: InputTokens
    ids: tuple[int, ...]
    kept: _Count = 0


class _Messages(msgspec.Struct, tag_field="kind", tag="messages"):
    messages: tuple[ChatMessage, ...]


class _Turn(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    new_tokens: InputTokens
    output_tokens: OutputTokens
    pause: Pause = Pause.NONE
    pause_s: Seconds = _ZERO_S
    pause_was_capped: bool = False
    gap_s: Seconds = _ZERO_S
    tick_s: _Positive | None = None
    tool: str | None = None
    num_tools: _Count = 0
    children: tuple[_Session, ...] = ()
    compacts: bool = False
    text: str | None = None
    prompt: _Blocks | _Messages | None = None


class _Prefix(msgspec.Struct):
    name: str
    tokens: InputTokens


class _Session(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    session_id: _Name
    traffic_class: _Class
    turns: Annotated[tuple[_Turn, ...], msgspec.Meta(min_length=1)]
    prefix: _Prefix | None = None
    start_s: Seconds | None = None


def write_session(session: Session) -> bytes:
    """A line of the format, with its line break. What is read from it is equal to the session."""
    return msgspec.json.encode(_written(session)) + b"\n"


def _written(session: Session) -> _Session:
    prefix = None if session.prefix is None else _Prefix(session.prefix.name, session.prefix.tokens)
    turns = tuple(map(_written_turn, session.turns))
    return _Session(session.session_id, session.traffic_class, turns, prefix, session.start_s)


def _written_turn(turn: Turn) -> _Turn:
    prompt: _Blocks | _Messages | None = None
    match turn.prompt:
        case BlockPrompt(scope, block_tokens, tokens, ids, kept):
            prompt = _Blocks(scope, block_tokens, tokens, ids, kept)
        case MessagePrompt(messages):
            prompt = _Messages(messages)
    return _Turn(
        turn.new_tokens,
        turn.output_tokens,
        turn.pause,
        turn.pause_s or _ZERO_S,
        turn.pause_was_capped,
        turn.gap_s or _ZERO_S,
        turn.tick_s,
        turn.tool,
        turn.num_tools,
        tuple(map(_written, turn.children)),
        turn.compacts,
        turn.text,
        prompt,
    )


def _read(session: _Session) -> Session:
    if session.traffic_class in RESERVED:
        raise BadRow("traffic_class", f"{session.traffic_class!r} is what abatch calls several classes together")
    prefix = None if session.prefix is None else SharedPrefix(session.prefix.name, session.prefix.tokens)
    turns = tuple(map(_read_turn, session.turns))
    return Session(session.session_id, session.traffic_class, turns, prefix, session.start_s)


def _read_turn(turn: _Turn) -> Turn:
    prompt: BlockPrompt | MessagePrompt | None = None
    match turn.prompt:
        case _Blocks(scope, block_tokens, tokens, ids, kept):
            prompt = BlockPrompt(scope, block_tokens, tokens, ids, kept)
        case _Messages(messages):
            prompt = MessagePrompt(messages)
    return Turn(
        turn.new_tokens,
        turn.output_tokens,
        pause=turn.pause,
        pause_s=turn.pause_s,
        pause_was_capped=turn.pause_was_capped,
        gap_s=turn.gap_s,
        tick_s=turn.tick_s,
        tool=turn.tool,
        num_tools=turn.num_tools,
        children=tuple(map(_read, turn.children)),
        compacts=turn.compacts,
        text=turn.text,
        prompt=prompt,
    )


def _sessions(reading: Reading) -> Iterator[Session]:
    decoder = msgspec.json.Decoder(_Session)
    seen: set[int] = set()  # hashes only: there may be a million

    def parse(row: Row) -> Session:
        session = _read(decoder.decode(row.data))
        if hash(session.session_id) in seen:
            raise BadRow("session_id", f"{session.session_id!r} is already the name of an earlier session")
        seen.add(hash(session.session_id))
        return session

    return reading.parsed(reading.values(), parse)


FORMAT = TraceFormat(
    "abatch's own: JSONL with one session per line, as written by `abatch workload export`",
    has_keys("session_id", "traffic_class", "turns"),
    _sessions,
    has_timestamps=None,
)
