"""OpenAI's batch files: a request a line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import msgspec

from ...session import Pause, Session
from ..parsing.format import TraceFormat, has_keys
from ..parsing.recorded_chat import MessageChain
from ..parsing.request_body import RequestBody, body_turn
from ..parsing.rows import Reading, Row
from ..parsing.session_ids import numbered_id


class _Line(msgspec.Struct):
    url: Literal["/v1/chat/completions", "/v1/completions"]
    body: RequestBody


def _sessions(reading: Reading) -> Iterator[Session]:
    decoder = msgspec.json.Decoder(_Line)

    def parse(row: Row) -> Session:
        turn = body_turn(decoder.decode(row.data).body, MessageChain(), "body")
        return Session(numbered_id("batch", row.number), "chat", (replace(turn, pause=Pause.NONE),))

    return reading.parsed(reading.values(), parse)


FORMAT = TraceFormat(
    "OpenAI batch: JSONL with custom_id, method, url, body",
    has_keys("custom_id", "body"),
    _sessions,
    has_timestamps=False,
)
