"""Lengths only, as etalon keeps them: a request a row, without a time."""

from __future__ import annotations

from collections.abc import Iterator

from ...session import Session, Turn
from ..parsing.csv_table import CsvTable
from ..parsing.format import TraceFormat, has_columns
from ..parsing.rows import Reading, Row
from ..parsing.session_ids import numbered_id

_COLUMNS = ("num_prefill_tokens", "num_decode_tokens")


def _sessions(reading: Reading) -> Iterator[Session]:
    table = CsvTable(reading, _COLUMNS)

    def parse(row: Row) -> Session:
        cells = table.cells(row)
        new_tokens = max(1, table.tokens(cells, "num_prefill_tokens"))
        turn = Turn(new_tokens, table.tokens(cells, "num_decode_tokens", least=1))
        return Session(numbered_id("lengths", row.number), "chat", (turn,))

    return reading.parsed(table.rows(), parse)


FORMAT = TraceFormat(
    "lengths: CSV with num_prefill_tokens, num_decode_tokens",
    has_columns(*_COLUMNS),
    _sessions,
    has_timestamps=False,
)
