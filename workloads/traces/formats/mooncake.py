"""Mooncake: a request a line, with the hashes of its blocks."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ....engine.integers import ceil_div
from ...session import Session, Turn
from ..parsing.block_chain import TRACE_SCOPE, BlockChain
from ..parsing.bounds import InputTokens, Milliseconds, OutputTokens
from ..parsing.format import TraceFormat, has_keys
from ..parsing.rows import Reading, Row
from ..parsing.session_ids import numbered_id
from ..parsing.timing import StartTimes
from ..parsing.trace_error import BadRow

BLOCK_TOKENS = 512


class _Request(msgspec.Struct):
    timestamp: Milliseconds
    input_length: InputTokens
    output_length: OutputTokens
    hash_ids: list[int]


def check_blocks(hash_ids: list[int], input_length: int) -> None:
    """The format's promise: each block has an id, the last one, cut short, too.

    Raises:
        BadRow: it is broken.
    """
    expected = ceil_div(input_length, BLOCK_TOKENS)
    if len(hash_ids) != expected:
        raise BadRow("hash_ids", f"expected {expected} for {input_length} tokens, got {len(hash_ids)}")


def _sessions(reading: Reading) -> Iterator[Session]:
    decoder = msgspec.json.Decoder(_Request)
    starts = StartTimes()

    def parse(row: Row) -> Session:
        request = decoder.decode(row.data)
        check_blocks(request.hash_ids, request.input_length)
        prompt, new_tokens = BlockChain(TRACE_SCOPE, BLOCK_TOKENS).prompt(request.hash_ids, request.input_length)
        turn = Turn(new_tokens, request.output_length, prompt=prompt if request.hash_ids else None)
        return Session(
            numbered_id("mooncake", row.number), "chat", (turn,), start_s=starts.start_s(request.timestamp / 1000)
        )

    return reading.parsed(reading.values(), parse)


FORMAT = TraceFormat(
    "Mooncake: JSONL with timestamp, input_length, output_length and hash_ids",
    has_keys(
        "timestamp",
        "input_length",
        "output_length",
        "hash_ids",
        but=("session_id", "delay", "text_input", "messages", "payload", "tools", "extra"),
    ),
    _sessions,
    has_timestamps=True,
)
