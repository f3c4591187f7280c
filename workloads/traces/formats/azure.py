"""Azure's traces of LLM inference: a request a row, with its date."""

from __future__ import annotations

from collections.abc import Iterator

from ...session import Session, Turn
from ..parsing.csv_table import CsvTable
from ..parsing.format import TraceFormat, has_columns
from ..parsing.rows import Reading, Row
from ..parsing.session_ids import numbered_id
from ..parsing.timing import StartTimes

_COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")


def _sessions(reading: Reading) -> Iterator[Session]:
    table = CsvTable(reading, _COLUMNS)
    starts = StartTimes()

    def parse(row: Row) -> Session:
        cells = table.cells(row)
        time_s = table.date_s(cells, "TIMESTAMP")
        new_tokens = max(1, table.tokens(cells, "ContextTokens"))
        turn = Turn(new_tokens, table.tokens(cells, "GeneratedTokens", least=1))
        return Session(numbered_id("azure", row.number), "chat", (turn,), start_s=starts.start_s(time_s))

    return reading.parsed(table.rows(), parse)


FORMAT = TraceFormat(
    "Azure LLM inference trace: CSV with TIMESTAMP, ContextTokens, GeneratedTokens",
    has_columns("timestamp", "contexttokens", "generatedtokens"),
    _sessions,
    has_timestamps=True,
)
