"""TraceLab: coding agents, a round a line."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ...session import Pause, Session, SharedPrefix, Turn
from ..parsing.bounds import InputTokens, OutputTokens, SessionName
from ..parsing.csv_table import date_s
from ..parsing.format import TraceFormat, has_keys
from ..parsing.rows import Reading, Row
from ..parsing.session_rows import RowFormat, RowKey
from ..parsing.timing import Growth
from ..parsing.trace_error import BadRow

_INPUT_EVENTS = frozenset(("user_message", "tool_result"))


class _Event(msgspec.Struct):
    event_type: str
    timestamp: str


class _Tool(msgspec.Struct):
    tool_name: str | None = None
    result_at: str | None = None


class _Round(msgspec.Struct):
    input_tokens_total: InputTokens
    prefix_tokens: InputTokens
    output_tokens: OutputTokens
    provider: str = "unknown"
    timing_events: list[_Event] = []
    tools: list[_Tool] = []
    first_input_event_type: str | None = None


class _Key(msgspec.Struct):
    session_id: SessionName
    timing_events: list[_Event] = []


class _SessionBuilder:
    """Makes the turns of one session.

    What the provider had cached of the first round is the prefix all sessions with that provider share. From then on
    prompts grow to be as long as recorded.
    """

    def __init__(self, decoder: msgspec.json.Decoder[_Round]) -> None:
        self.prefix: SharedPrefix | None = None
        self._decoder = decoder
        self._growth: Growth | None = None
        self._num_tools = 0
        self._slowest: str | None = None
        self._sent_s: float | None = None
        self._ended_s: float | None = None

    def turn(self, row: Row) -> Turn:
        """The turn of the next row."""
        recorded = self._decoder.decode(row.data)
        if recorded.prefix_tokens > recorded.input_tokens_total:
            raise BadRow("prefix_tokens", f"expected at most input_tokens_total ({recorded.input_tokens_total})")
        sent_s = _last_time_s(recorded, are_inputs=True)
        ended_s = _last_time_s(recorded, are_inputs=False)
        pause, pause_s, gap_s = self._pause(recorded, sent_s)
        tool, num_tools = (self._slowest, self._num_tools) if pause is Pause.TOOL else (None, 0)
        if self._growth is None:
            if recorded.prefix_tokens:
                self.prefix = SharedPrefix(f"tracelab-{recorded.provider}", recorded.prefix_tokens)
            self._growth = Growth(recorded.prefix_tokens, compacts_below=0.5)
        new_tokens, compacts = self._growth.turn(recorded.input_tokens_total, recorded.output_tokens)
        self._num_tools, self._slowest = len(recorded.tools), _slowest(recorded.tools)
        self._sent_s, self._ended_s = sent_s, ended_s
        return Turn(
            new_tokens,
            recorded.output_tokens,
            pause=pause,
            pause_s=pause_s,
            gap_s=gap_s,
            tool=tool,
            num_tools=num_tools,
            compacts=compacts,
        )

    def _pause(self, recorded: _Round, sent_s: float | None) -> tuple[Pause, float, float]:
        """The pause, `pause_s` and `gap_s`. A round is sent when its last input is there."""
        if self._growth is None:
            return Pause.NONE, 0.0, 0.0
        is_human = recorded.first_input_event_type == "user_message" or (
            recorded.first_input_event_type is None and not self._num_tools
        )
        pause = Pause.HUMAN if is_human else Pause.TOOL
        if sent_s is not None and self._ended_s is not None:
            return pause, max(0.0, sent_s - self._ended_s), 0.0
        if sent_s is not None and self._sent_s is not None:
            return pause, 0.0, max(0.0, sent_s - self._sent_s)
        return pause, 0.0, 0.0


def _last_time_s(recorded: _Round, *, are_inputs: bool) -> float | None:
    """When the last input, or the last output, was there."""
    times = [
        date_s(event.timestamp, f"timing_events[{index}].timestamp")
        for index, event in enumerate(recorded.timing_events)
        if (event.event_type in _INPUT_EVENTS) == are_inputs
    ]
    return max(times, default=None)


def _slowest(tools: list[_Tool]) -> str | None:
    """The tool whose result came last, of those that had one."""
    ends = [
        (date_s(tool.result_at, f"tools[{index}].result_at"), index)
        for index, tool in enumerate(tools)
        if tool.result_at is not None
    ]
    return tools[max(ends)[1]].tool_name if ends else None


def _sessions(reading: Reading) -> Iterator[Session]:
    rounds, keys = msgspec.json.Decoder(_Round), msgspec.json.Decoder(_Key)

    def key(row: Row) -> RowKey:
        found = keys.decode(row.data)
        if not found.timing_events:
            return RowKey(found.session_id, None)
        return RowKey(found.session_id, date_s(found.timing_events[0].timestamp, "timing_events[0].timestamp"))

    row_format = RowFormat("tracelab", "agent", key, lambda _: _SessionBuilder(rounds))
    return row_format.grouped(reading, reading.lines())


FORMAT = TraceFormat(
    "TraceLab: JSONL of rounds with session_id, round_index, input_tokens_total, prefix_tokens, timing_events, tools",
    has_keys("session_id", "round_index", "input_tokens_total"),
    _sessions,
    has_timestamps=True,
)
