"""Recorded sessions under scales and overrides."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from abatch.engine.protocol.conversation import ChatMessage
from abatch.workloads.presets.distributions import Constant, LogNormal
from abatch.workloads.presets.scales import Scales
from abatch.workloads.session import BlockPrompt, MessagePrompt, Pause, Session, SharedPrefix, Turn
from abatch.workloads.traces.fit import fit

_BLOCKS = BlockPrompt("trace", 64, 1000, (5, 6), 3)
_MESSAGES = MessagePrompt((ChatMessage(role="user", content="hello"),))
_CHILD = Session("a/b", "sub-agent", (Turn(100, 5, pause=Pause.TOOL, pause_s=4.0), Turn(200, 5)))
_SESSION = Session(
    "a",
    "agent",
    (
        Turn(1000, 50),
        Turn(300, 60, pause=Pause.TOOL, pause_s=6.0, tool="Bash", num_tools=2, children=(_CHILD,)),
        Turn(400, 70, pause=Pause.HUMAN, gap_s=30.0, prompt=_BLOCKS),
        Turn(9, 80, pause=Pause.HUMAN, text="hello", pause_was_capped=True),
        Turn(8, 90, prompt=_MESSAGES),
    ),
    SharedPrefix("system", 5000),
    start_s=40.0,
)
_FREE = Scales(pause_cap_s=1000.0)


def fitted(scales: Scales, session: Session = _SESSION) -> Session:
    return fit(session, scales, Random(0))


def test_nothing_to_do() -> None:
    assert fitted(_FREE) == _SESSION


def test_context() -> None:
    session = fitted(replace(_FREE, context=0.1))
    assert session.prefix == SharedPrefix("system", 500)
    # Text is as recorded, and so are its tokens.
    assert [turn.new_tokens for turn in session.turns] == [100, 30, 40, 9, 8]
    assert session.turns[2].prompt == replace(_BLOCKS, block_tokens=6.4, tokens=100)
    assert session.turns[4] == _SESSION.turns[4]
    assert [turn.new_tokens for turn in session.turns[1].children[0].turns] == [10, 20]
    assert [turn.new_tokens for turn in fitted(replace(_FREE, context=1e-4)).turns] == [1, 1, 1, 9, 8]


def test_time() -> None:
    session = fitted(Scales(time=0.5, pause_cap_s=10.0))
    assert session.start_s == _SESSION.start_s, "that is --trace-speed's"
    assert [(turn.pause_s, turn.gap_s, turn.pause_was_capped) for turn in session.turns] == [
        (0.0, 0.0, False),
        (3.0, 0.0, False),
        (0.0, 10.0, True),
        (0.0, 0.0, True),
        (0.0, 0.0, False),
    ]
    assert session.turns[1].children[0].turns[0].pause_s == 2.0
    assert fitted(Scales(), replace(_SESSION, start_s=None)).start_s is None


def test_the_cap() -> None:
    session = fitted(Scales(pause_cap_s=5.0))
    assert (session.turns[1].pause_s, session.turns[1].pause_was_capped) == (5.0, True)
    (child,) = session.turns[1].children
    assert (child.turns[0].pause_s, child.turns[0].pause_was_capped) == (4.0, False)


def test_overrides() -> None:
    scales = Scales(
        context=0.5,
        time=0.5,
        pause_cap_s=1.0,
        input_tokens=Constant(33),
        output_tokens=Constant(44),
        tool_pause_s=Constant(55.0),
    )
    session = fitted(scales)
    assert [turn.new_tokens for turn in session.turns] == [33, 33, 200, 9, 8]
    assert {turn.output_tokens for turn in session.turns} == {44}
    # A latency given for tools is neither scaled nor capped.
    assert [(turn.pause_s, turn.gap_s) for turn in session.turns[1:3]] == [(55.0, 0.0), (0.0, 1.0)]
    assert not session.turns[1].pause_was_capped
    (child,) = session.turns[1].children
    assert [(turn.new_tokens, turn.output_tokens) for turn in child.turns] == [(33, 44), (33, 44)]


def test_a_tool_pause_replaces_a_gap() -> None:
    turn = Turn(5, 5, pause=Pause.TOOL, gap_s=9.0)
    session = fitted(Scales(tool_pause_s=Constant(2.0)), Session("a", "agent", (turn,)))
    assert (session.turns[0].pause_s, session.turns[0].gap_s) == (2.0, 0.0)


@pytest.mark.parametrize(("turns", "expected"), [(0.2, 1), (2, 2), (9, 5)])
def test_turns(turns: float, expected: int) -> None:
    session = fitted(replace(_FREE, turns=Constant(turns)))
    assert [turn.output_tokens for turn in session.turns] == [50, 60, 70, 80, 90][:expected]
    assert len(session.turns) == expected


def test_randomness_is_what_it_is_given() -> None:
    scales = replace(_FREE, output_tokens=LogNormal(100, 1.0))
    assert fit(_SESSION, scales, Random(1)) == fit(_SESSION, scales, Random(1))
    assert fit(_SESSION, scales, Random(1)) != fit(_SESSION, scales, Random(2))
