"""trie: an agent's session a line, as lists of lengths and latencies."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ...session import Pause, Session, Turn
from ..parsing.bounds import InputTokens, OutputTokens, Seconds
from ..parsing.format import TraceFormat, has_keys
from ..parsing.rows import Reading
from ..parsing.session_ids import numbered_id
from ..parsing.trace_error import BadRow


class _Trajectory(msgspec.Struct):
    input_prompt_length: InputTokens
    assistant_response_length: list[OutputTokens]
    tool_call_output_length: list[InputTokens]
    tool_call_latency: list[Seconds]
    final_assistant_response_length: OutputTokens


def _session(trajectory: _Trajectory, session_id: str) -> Session:
    num_calls = len(trajectory.assistant_response_length)
    for field in ("tool_call_output_length", "tool_call_latency"):
        if len(getattr(trajectory, field)) != num_calls:
            problem = f"expected {num_calls} as in assistant_response_length, got {len(getattr(trajectory, field))}"
            raise BadRow(field, problem)
    outputs = [*trajectory.assistant_response_length, trajectory.final_assistant_response_length]
    turns = [Turn(max(1, trajectory.input_prompt_length), outputs[0])]
    for num_new, num_output, latency_s in zip(
        trajectory.tool_call_output_length, outputs[1:], trajectory.tool_call_latency, strict=True
    ):
        turns.append(Turn(max(1, num_new), num_output, pause=Pause.TOOL, pause_s=latency_s, num_tools=1))
    return Session(session_id, "agent", tuple(turns))


def _sessions(reading: Reading) -> Iterator[Session]:
    decoder = msgspec.json.Decoder(_Trajectory)
    return reading.parsed(
        reading.values(), lambda row: _session(decoder.decode(row.data), numbered_id("trie", row.number))
    )


FORMAT = TraceFormat(
    "trie: JSONL with input_prompt_length, assistant_response_length, tool_call_output_length, tool_call_latency",
    has_keys("input_prompt_length", "assistant_response_length"),
    _sessions,
    has_timestamps=False,
)
