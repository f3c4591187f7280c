"""BurstGPT: a request a row, from its third version on with the session it belongs to."""

from __future__ import annotations

from collections.abc import Iterator

from ...session import Pause, Session, Turn
from ..parsing.csv_table import CsvTable
from ..parsing.format import TraceFormat, has_columns
from ..parsing.rows import Reading, Row
from ..parsing.session_rows import RowFormat, RowKey
from ..parsing.timing import Growth

_SESSION, _ELAPSED = "Session ID", "Elapsed time"


class _SessionBuilder:
    """Makes the turns of one session.

    Request tokens are taken as the whole prompt. If they are fewer than the conversation has by then, it begins
    anew: so prompts are as long as recorded, whatever the service counted.
    """

    prefix = None

    def __init__(self, table: CsvTable) -> None:
        self._table = table
        self._growth = Growth(compacts_below=1.0)
        self._sent_s: float | None = None
        self._ended_s: float | None = None

    def turn(self, row: Row) -> Turn | None:
        """The turn of the next row; None for one without tokens, for that request failed."""
        table, cells = self._table, self._table.cells(row)
        time_s = table.seconds(cells, "Timestamp")
        num_input, num_output = table.tokens(cells, "Request tokens"), table.tokens(cells, "Response tokens")
        elapsed_s = table.seconds_or_none(cells, _ELAPSED) if table.has(_ELAPSED) else None
        if not num_input or not num_output:
            return None
        pause, pause_s, gap_s = Pause.NONE, 0.0, 0.0
        if self._ended_s is not None:
            pause, pause_s = Pause.HUMAN, max(0.0, time_s - self._ended_s)
        elif self._sent_s is not None:
            pause, gap_s = Pause.HUMAN, max(0.0, time_s - self._sent_s)
        self._sent_s, self._ended_s = time_s, None if elapsed_s is None else time_s + elapsed_s
        new_tokens, compacts = self._growth.turn(num_input, num_output)
        return Turn(new_tokens, num_output, pause=pause, pause_s=pause_s, gap_s=gap_s, compacts=compacts)


def _sessions(reading: Reading) -> Iterator[Session]:
    table = CsvTable(reading, ("Timestamp", "Request tokens", "Response tokens"))
    has_sessions = table.has(_SESSION)

    def key(row: Row) -> RowKey:
        cells = table.cells(row)
        name = table.text(cells, _SESSION) if has_sessions else ""
        return RowKey(name or None, table.seconds(cells, "Timestamp"))

    row_format = RowFormat("burstgpt", "chat", key, lambda _: _SessionBuilder(table))
    return (row_format.grouped if has_sessions else row_format.single)(reading, table.rows())


FORMAT = TraceFormat(
    "BurstGPT: CSV with Timestamp, Request tokens, Response tokens, and optionally Session ID, Elapsed time",
    has_columns("timestamp", "request tokens", "response tokens"),
    _sessions,
    has_timestamps=True,
)
