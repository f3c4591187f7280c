"""Weka's traces as a table: a request a row, with the tokens it shares with the one before."""

from __future__ import annotations

from collections.abc import Iterator

from ...session import Session, Turn
from ..parsing.block_chain import BlockChain
from ..parsing.csv_table import CsvTable
from ..parsing.format import TraceFormat, has_columns
from ..parsing.rows import Reading, Row
from ..parsing.session_rows import RowFormat, RowKey
from ..parsing.trace_error import BadRow
from ..parsing.weka_pauses import RecordedCall, WekaPauses

_BLOCK_TOKENS = 64
_COLUMNS = ("trace", "idx", "type", "t", "in", "out", "prefix_hit", "api_time", "think_time", "ttft", "stop", "input0")


class _SessionBuilder:
    """Makes the turns of one session. Its prompts share whole blocks as recorded; the blocks' names are made up."""

    prefix = None

    def __init__(self, table: CsvTable, session_id: str) -> None:
        self._table = table
        self._blocks = BlockChain(session_id, _BLOCK_TOKENS)
        self._pauses = WekaPauses()
        self._num_ids = 0

    def turn(self, row: Row) -> Turn:
        """The turn of the next row."""
        table, cells = self._table, self._table.cells(row)
        tokens, shared = max(1, table.tokens(cells, "in")), table.tokens(cells, "prefix_hit")
        # Zero is in the traces: requests that were answered with nothing.
        num_output = max(1, table.tokens(cells, "out"))
        if shared > tokens:
            raise BadRow("prefix_hit", f"expected at most in ({tokens}), got {shared}")
        call = RecordedCall(
            table.seconds(cells, "t"),
            table.seconds_or_none(cells, "api_time"),
            table.seconds_or_none(cells, "think_time"),
            _brings_result(table.text(cells, "input0")),
            table.text(cells, "stop") == "u",
        )
        pause, pause_s, gap_s = self._pauses.next(call, None)
        prompt, new_tokens = self._blocks.prompt_after(shared, tokens, self._num_ids)
        self._num_ids += len(prompt.ids)
        return Turn(new_tokens, num_output, pause=pause, pause_s=pause_s, gap_s=gap_s, prompt=prompt)


def _brings_result(input0: str) -> bool | None:
    """`r` is a tool's result, `x` is text."""
    return input0 == "r" if input0 in ("r", "x") else None


def _sessions(reading: Reading) -> Iterator[Session]:
    table = CsvTable(reading, _COLUMNS)

    def key(row: Row) -> RowKey:
        name = table.text(table.cells(row), "trace")
        if not name:
            raise BadRow("trace", "is empty")
        return RowKey(name, None)

    row_format = RowFormat("weka", "agent", key, lambda session_id: _SessionBuilder(table, session_id))
    return row_format.grouped(reading, table.rows())


FORMAT = TraceFormat(
    "Weka as a table: CSV with trace, idx, t, in, out, prefix_hit, api_time, think_time, stop, input0",
    has_columns("trace", "idx", "prefix_hit"),
    _sessions,
    has_timestamps=False,
)
