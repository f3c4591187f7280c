"""abatch's own format holds all that a session can say."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from abatch.engine.protocol.conversation import ChatMessage, ContentPart, FunctionCall, ToolCall
from abatch.workloads.session import BlockPrompt, MessagePrompt, Pause, Session, SharedPrefix, Turn
from abatch.workloads.traces.formats.native import write_session
from abatch.workloads.traces.parsing.trace_error import TraceError
from abatch.workloads.traces.trace import Trace, open_trace
from hypothesis import given
from hypothesis import strategies as st
from support.examples import examples

_NAMES = st.from_regex(r"\A[^\s\ud800-\udfff]{1,9}\Z")
_SECONDS = st.floats(0, 1e12)
_TOKENS = st.integers(0, 10_000_000)
_COUNTS = st.integers(0, 1000)
_MESSAGES = st.builds(
    ChatMessage,
    role=st.sampled_from(["system", "user", "assistant", "tool"]),
    content=st.none() | st.text() | st.lists(st.builds(ContentPart, st.just("text"), st.text()), max_size=2),
    tool_calls=st.none()
    | st.lists(st.builds(ToolCall, id=st.text(), function=st.builds(FunctionCall, st.text(), st.text())), max_size=2),
)
_PROMPTS = (
    st.none()
    | st.builds(MessagePrompt, st.lists(_MESSAGES, max_size=3).map(tuple))
    | st.builds(
        BlockPrompt,
        scope=st.text(),
        block_tokens=st.floats(1e-3, 1e6),
        tokens=_TOKENS,
        ids=st.lists(st.integers(), max_size=3).map(tuple),
        kept=_COUNTS,
    )
)


def _turns(children: st.SearchStrategy[tuple[Session, ...]]) -> st.SearchStrategy[Turn]:
    return st.builds(
        Turn,
        _TOKENS,
        st.integers(1, 10_000_000),
        pause=st.sampled_from(Pause),
        pause_s=_SECONDS,
        pause_was_capped=st.booleans(),
        gap_s=_SECONDS,
        tick_s=st.none() | st.floats(1e-3, 1e6),
        tool=st.none() | st.text(),
        num_tools=_COUNTS,
        children=children,
        compacts=st.booleans(),
        text=st.none() | st.text(),
        prompt=_PROMPTS,
    )


def _sessions(children: st.SearchStrategy[tuple[Session, ...]]) -> st.SearchStrategy[Session]:
    return st.builds(
        Session,
        _NAMES,
        _NAMES.filter(lambda name: "," not in name),
        st.lists(_turns(children), min_size=1, max_size=2).map(tuple),
        prefix=st.none() | st.builds(SharedPrefix, st.text(), _TOKENS),
        start_s=st.none() | _SECONDS,
    )


_CHILDREN = st.recursive(st.just(()), lambda inner: st.lists(_sessions(inner), max_size=2).map(tuple), max_leaves=3)


@examples(0.6)
@given(st.lists(_sessions(_CHILDREN), min_size=1, max_size=3, unique_by=lambda session: session.session_id))
def test_what_is_written_is_read(written: list[Session]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "export"
        path.write_bytes(b"".join(map(write_session, written)))
        trace = open_trace(path)
        assert trace.format == "native"
        assert list(trace.sessions()) == written
        assert trace.has_timestamps is (written[0].start_s is not None)


def test_what_goes_without_saying_is_not_written() -> None:
    line = write_session(Session("a", "chat", (Turn(5, 7),)))
    assert line.endswith(b"}\n")
    assert json.loads(line) == {
        "session_id": "a",
        "traffic_class": "chat",
        "turns": [{"new_tokens": 5, "output_tokens": 7}],
    }


def _row(**changes: Any) -> dict[str, Any]:
    turn = {"new_tokens": 5, "output_tokens": 7, **changes}
    return {"session_id": "a", "traffic_class": "chat", "turns": [turn]}


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (_row(new_tokens=-1), r"turns\[0\].new_tokens: Expected `int` >= 0"),
        (_row(pause="sleep"), r"turns\[0\].pause: Invalid enum value 'sleep'"),
        (_row(gap_s=-0.5), r"turns\[0\].gap_s: Expected `float` >= 0"),
        (_row(tick_s=0), r"turns\[0\].tick_s: Expected `float` > 0"),
        (_row(pauses=1), r"turns\[0\]: Object contains unknown field `pauses`"),
        (_row(prompt={"kind": "blocks"}), r"turns\[0\].prompt.scope: is missing"),
        (_row(prompt={"kind": "magic"}), r"turns\[0\].prompt.kind: Invalid value 'magic'"),
        (_row(children=[_row(output_tokens=0)]), r"turns\[0\].children\[0\].turns\[0\].output_tokens: Expected"),
        ({**_row(), "session_id": "a b"}, "session_id: Expected `str` matching regex"),
        ({**_row(), "traffic_class": "a,b"}, "traffic_class: Expected `str` matching regex"),
        ({**_row(), "traffic_class": "a\n"}, "traffic_class: Expected `str` matching regex"),
        ({**_row(), "turns": []}, "turns: Expected `array` of length >= 1"),
        ({**_row(), "start_s": -1}, "start_s: Expected `float` >= 0"),
    ],
)
def test_what_cannot_be(row: dict[str, Any], complaint: str, open_text: Callable[..., Trace]) -> None:
    with pytest.raises(TraceError, match=f"^sample.txt:1: {complaint}"):
        list(open_text(row).sessions())


def test_a_name_is_taken_once(open_text: Callable[..., Trace]) -> None:
    with pytest.raises(TraceError, match=r"sample.txt:2: session_id: 'a' is already the name of an earlier session"):
        list(open_text(_row(), _row()).sessions())
