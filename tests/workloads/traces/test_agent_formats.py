"""Formats that recorded agents: whole sessions, pauses, tools and sub-agents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from abatch.workloads.session import BlockPrompt, Pause, Session, SharedPrefix, Turn
from abatch.workloads.traces.parsing.trace_error import TraceError

Sessions = Callable[..., list[Session]]


def _call(t: float, tokens: int, ids: list[int], **rest: Any) -> dict[str, Any]:
    return {"t": t, "type": "n", "model": "m", "in": tokens, "out": 7, "hash_ids": ids, **rest}


def _weka(*requests: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {"id": "one", "models": ["m"], "block_size": 10, "hash_id_scope": "local", "requests": requests, **rest}


def _agent(t: float, name: str, *requests: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {"t": t, "type": "subagent", "agent_id": name, "requests": requests, **rest}


def _times(session: Session) -> list[tuple[str, float, float]]:
    return [(turn.pause.value, turn.pause_s, turn.gap_s) for turn in session.turns]


def test_weka_prompts(sessions: Sessions) -> None:
    requests = (
        _call(0.0, 35, [1, 2, 3]),
        _call(5.0, 47, [1, 2, 3, 4], type="s"),
        _call(9.0, 20, [1, 9], out=0),
    )
    (session,) = sessions(_weka(*requests))
    assert (session.session_id, session.traffic_class, session.start_s) == ("one", "agent", None)
    # What is left over behind the last whole block has an id of its own, and is never kept.
    assert [turn.prompt for turn in session.turns] == [
        BlockPrompt("one", 10, 35, (1, 2, 3, -1)),
        BlockPrompt("one", 10, 47, (4, -2), 3),
        BlockPrompt("one", 10, 20, (9,), 1),
    ]
    assert [(turn.new_tokens, turn.output_tokens) for turn in session.turns] == [(35, 7), (17, 7), (10, 1)]


def test_weka_ids_that_do_not_match_the_length(sessions: Sessions) -> None:
    (session,) = sessions(_weka(_call(0.0, 25, [1, 2, 3, 4, 5]), _call(1.0, 45, []), hash_id_scope="global"))
    assert [turn.prompt for turn in session.turns] == [
        BlockPrompt("trace", 10, 25, (1, 2, 3)),
        BlockPrompt("trace", 10, 45, (-1, -2, -3, -4, -5)),
    ]


def test_two_weka_sessions_of_one_name_have_two(sessions: Sessions) -> None:
    one = _weka(_call(0.0, 10, [1]))
    names = ["one", "one", " one", "weka-9", "", "x" * 300]
    found = sessions(*({**one, "id": name} for name in names))
    expected = ["one", "one%-2", "%20one", "weka%2D9", "%", "x" * 200]
    assert [session.session_id for session in found] == expected
    scopes = [turn.prompt.scope for session in found for turn in session.turns if isinstance(turn.prompt, BlockPrompt)]
    assert scopes == [session.session_id for session in found]


def test_weka_pauses(sessions: Sessions) -> None:
    (session,) = sessions(
        _weka(
            _call(0.0, 10, [1], api_time=4.0, think_time=0.0, stop="tool_use"),
            # As recorded.
            _call(10.0, 10, [1], api_time=2.0, think_time=5.0, input_types=["tool_result"]),
            # think_time is not known: from the end of the one before.
            _call(15.0, 10, [1], think_time=0.0, input_types=["text"], stop="tool_use"),
            # Nor is that end: from when it was sent. think_time counts from the last end that is known.
            _call(30.0, 10, [1], think_time=18.0, stop="end_turn"),
            # It leaves time for the call before, so it can be true.
            _call(40.0, 10, [1], api_time=20.0, think_time=3.0, stop="end_turn"),
            # Sent before the answer before had ended.
            _call(50.0, 0, []),
            # Sent before the one before, says the trace.
            _call(45.0, 10, [1]),
        )
    )
    assert _times(session) == [
        ("none", 0.0, 0.0),
        ("tool", 5.0, 0.0),
        ("human", 3.0, 0.0),
        ("tool", 0.0, 15.0),
        ("human", 3.0, 0.0),
        ("human", 0.0, 0.0),
        ("human", 0.0, 0.0),
    ]
    assert session.turns[5].prompt == BlockPrompt("one", 10, 1, (-1,))


def test_weka_sub_agents(sessions: Sessions) -> None:
    child = _agent(
        6.0,
        "agent 1",
        _call(6.0, 10, [8], api_time=1.0),
        _agent(8.0, "deep", _call(8.0, 10, [5])),
        _call(12.0, 20, [8, 9], api_time=2.0, think_time=4.0),
    )
    (session,) = sessions(
        _weka(
            _call(0.0, 10, [1], api_time=4.0, stop="tool_use"),
            child,
            _agent(6.5, "agent 1", _call(6.5, 10, [8]), duration_ms=2500),
            _call(20.0, 10, [1], api_time=1.0, think_time=16.0, input_types=["tool_result"]),
            _call(30.0, 10, [1], think_time=2.0),
        )
    )
    assert [len(turn.children) for turn in session.turns] == [0, 2, 0]
    # The pause was the sub-agents at work, until 14 s: only the rest is a pause.
    assert _times(session) == [("none", 0.0, 0.0), ("tool", 6.0, 0.0), ("human", 2.0, 0.0)]
    first, second = session.turns[1].children
    assert (first.session_id, first.traffic_class) == ("one/agent_1", "sub-agent")
    assert second.session_id == "one/agent_1~"
    assert _times(first) == [("none", 0.0, 0.0), ("tool", 0.0 + 4.0, 0.0)]
    assert first.turns[1].prompt == BlockPrompt("one", 10, 20, (9,), 1)
    (deep,) = first.turns[1].children
    assert deep == Session("one/agent_1/deep", "sub-agent", (Turn(10, 7, prompt=BlockPrompt("one", 10, 10, (5,))),))


def test_a_weka_parent_that_did_not_wait(sessions: Sessions) -> None:
    (session,) = sessions(
        _weka(
            _call(0.0, 10, [1], api_time=4.0),
            _agent(5.0, "a", _call(5.0, 10, [8]), duration_ms=60_000),
            _call(9.0, 10, [1], think_time=5.0),
        )
    )
    assert _times(session) == [("none", 0.0, 0.0), ("tool", 5.0, 0.0)]
    assert len(session.turns[1].children) == 1


def test_a_weka_sub_agent_whose_times_run_backwards(sessions: Sessions) -> None:
    requests = (_call(7.0, 10, [8]), _call(5.0, 10, [8]))
    (session,) = sessions(_weka(_call(0.0, 10, [1]), _agent(5.0, "a", *requests), _call(9.0, 10, [1])))
    assert _times(session)[1] == ("tool", 2.0, 0.0)


def test_weka_sub_agents_at_the_end_are_not_lost(sessions: Sessions) -> None:
    (session,) = sessions(_weka(_call(0.0, 10, [1]), _call(5.0, 10, [1]), _agent(9.0, "a", _call(9.0, 10, [8]))))
    assert [len(turn.children) for turn in session.turns] == [0, 1]
    hoisted = _agent(9.0, "a", _agent(9.0, "b", _call(9.0, 10, [8])))
    (session,) = sessions(_weka(_call(0.0, 10, [1]), hoisted, _call(15.0, 10, [1])))
    assert [child.session_id for child in session.turns[1].children] == ["one/a/b"]
    with pytest.raises(TraceError, match=r"sample.txt:1: requests: expected at least one request by the agent itself"):
        sessions(_weka(_agent(9.0, "a", _call(9.0, 10, [8]))))


def test_weka_requests(sessions: Sessions) -> None:
    first, second = sessions(
        "trace,idx,type,t,in,out,prefix_hit,api_time,think_time,ttft,stop,input0",
        "a,0,n,0,200,5,0,4,0,,u,x",
        "b,0,s,0,64,0,0,,,1.5,e,x",
        "a,1,n,10,300,6,192,2,5,,e,r",
        "b,0,s,1,0,5,0,1,,,e,x",
        "b,1,s,7,70,6,64,3,,,e,",
        "a,2,n,15,130,7,64,,,,,x",
    )
    assert first == Session(
        "a",
        "agent",
        (
            Turn(200, 5, prompt=BlockPrompt("a", 64, 200, (0, 1, 2, 3))),
            Turn(108, 6, pause=Pause.TOOL, pause_s=5.0, prompt=BlockPrompt("a", 64, 300, (4, 5), 3)),
            Turn(66, 7, pause=Pause.HUMAN, pause_s=3.0, prompt=BlockPrompt("a", 64, 130, (6, 7), 1)),
        ),
    )
    assert second.turns[0] == Turn(64, 1, prompt=BlockPrompt("b", 64, 64, (0,)))
    assert second.turns[1].prompt == BlockPrompt("b", 64, 1, (1,))


def test_weka_requests_share_at_most_what_there_is(sessions: Sessions) -> None:
    (session,) = sessions(
        "trace,idx,type,t,in,out,prefix_hit,api_time,think_time,ttft,stop,input0",
        "a,0,n,0,200,5,128,4,0,,u,x",
        "a,1,n,9,400,5,320,4,0,,u,",
        "a,2,n,20,400,5,320,,5,,u,",
    )
    kept = [turn.prompt.kept for turn in session.turns if isinstance(turn.prompt, BlockPrompt)]
    assert kept == [0, 3, 5]
    assert [turn.pause for turn in session.turns] == [Pause.NONE, Pause.TOOL, Pause.TOOL]
    with pytest.raises(TraceError, match=r"sample.txt:2: trace: is empty"):
        sessions("trace,idx,type,t,in,out,prefix_hit,api_time,think_time,ttft,stop,input0", ",0,n,0,2,5,0,4,0,,u,x")


def test_trie(sessions: Sessions) -> None:
    row = {
        "num_turns": 3,
        "input_prompt_length": 900,
        "assistant_response_length": [11, 12],
        "tool_call_output_length": [300, 0],
        "tool_call_latency": [0.25, 18.0],
        "final_assistant_response_length": 500,
    }
    alone = {
        **row,
        "input_prompt_length": 0,
        "assistant_response_length": [],
        "tool_call_output_length": [],
        "tool_call_latency": [],
    }
    assert sessions(row, alone) == [
        Session(
            "trie-1",
            "agent",
            (
                Turn(900, 11),
                Turn(300, 12, pause=Pause.TOOL, pause_s=0.25, num_tools=1),
                Turn(1, 500, pause=Pause.TOOL, pause_s=18.0, num_tools=1),
            ),
        ),
        Session("trie-2", "agent", (Turn(1, 500),)),
    ]


def _round(session: str, index: int, total: int, prefix: int, output: int, *times: Any, **rest: Any) -> dict[str, Any]:
    kinds = {"u": "user_message", "r": "tool_result", "t": "text", "c": "tool_call"}
    events = [{"event_type": kinds[time[0]], "timestamp": f"2026-06-01T05:00:{time[1:]}Z"} for time in times]
    counts = {"input_tokens_total": total, "prefix_tokens": prefix, "output_tokens": output}
    first = kinds[times[0][0]] if times else None
    return {
        "provider": "p",
        "session_id": session,
        "round_index": index,
        **counts,
        "timing_events": events,
        "tools": [],
        "first_input_event_type": first,
        **rest,
    }


def _tool(name: str, result: str | None) -> dict[str, Any]:
    at = None if result is None else f"2026-06-01T05:00:{result}Z"
    return {"tool_name": name, "emitted_at": "", "result_at": at, "tool_wall_latency_ms": 5}


def test_tracelab(sessions: Sessions) -> None:
    slow, quick, lost = _tool("Search", "09.000"), _tool("Bash", "07.000"), _tool("Lost", None)
    early, late = sessions(
        _round("late", 0, 1000, 800, 50, "u05.000", "t06.000", "c06.500", tools=[slow, quick, lost]),
        _round("early", 0, 70, 0, 5, "u01.000", "t02.000"),
        _round("late", 1, 1200, 900, 60, "r07.000", "r09.000", "t10.000"),
        _round("early", 1, 60, 0, 5),
        _round("late", 2, 1190, 1000, 70, "u12.000", "t15.000", tools=[lost]),
        _round("late", 3, 900, 800, 5),
        _round("late", 4, 400, 300, 5, "r30.000"),
        _round("late", 5, 500, 300, 5, "u40.000"),
    )
    assert early == Session("early", "agent", (Turn(70, 5), Turn(1, 5, pause=Pause.HUMAN)), start_s=0.0)
    assert late.prefix == SharedPrefix("tracelab-p", 800)
    assert (late.session_id, late.start_s) == ("late", 4.0)
    assert late.turns == (
        Turn(200, 50),
        # 1000 + 50 are there already.
        Turn(150, 60, pause=Pause.TOOL, pause_s=2.5, tool="Search", num_tools=3),
        # The recorded prompt lost some; the replayed one cannot.
        Turn(1, 70, pause=Pause.HUMAN, pause_s=2.0),
        Turn(1, 5, pause=Pause.TOOL, num_tools=1),
        # Less than half of it: compacted, down to the prefix at most.
        Turn(1, 5, pause=Pause.TOOL, compacts=True),
        Turn(1, 5, pause=Pause.HUMAN, gap_s=10.0),
    )


def test_tracelab_rounds_that_overlap(sessions: Sessions) -> None:
    (session,) = sessions(
        _round("a", 0, 10, 0, 5, "u10.000", "t20.000"),
        _round("a", 1, 20, 0, 5, "u15.000"),
        _round("a", 2, 30, 0, 5, "u12.000"),
    )
    assert _times(session) == [("none", 0.0, 0.0), ("human", 0.0, 0.0), ("human", 0.0, 0.0)]


def test_a_compacted_tracelab_session(sessions: Sessions) -> None:
    rounds = [_round("a", 0, 1000, 100, 50), _round("a", 1, 400, 0, 50), _round("a", 2, 500, 0, 50)]
    (session,) = sessions(*rounds)
    assert [(turn.new_tokens, turn.compacts) for turn in session.turns] == [(900, False), (300, True), (50, False)]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"prefix_tokens": 2000}, r"prefix_tokens: expected at most input_tokens_total \(1000\)"),
        (
            {"timing_events": [{"event_type": "x", "timestamp": "noon"}]},
            r"timing_events\[0\].timestamp: expected a date",
        ),
        ({"tools": [{"result_at": "noon"}]}, r"tools\[0\].result_at: expected a date"),
    ],
)
def test_tracelab_rounds_that_are_wrong(change: dict[str, Any], complaint: str, sessions: Sessions) -> None:
    with pytest.raises(TraceError, match=f"sample.txt:1: {complaint}"):
        sessions(_round("a", 0, 1000, 100, 50, **change))


def test_tau(sessions: Sessions) -> None:
    calls = [{"id": "1", "type": "function", "function": {"name": "find", "arguments": "x" * 36}}]
    unanswered = {"task_id": 1, "traj": [{"role": "user", "content": "hello"}]}
    trajectory = [
        {"role": "system", "content": "policy"},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "name": "find", "content": "found", "tool_call_id": "1"},
        {"role": "tool", "name": "look", "content": "seen", "tool_call_id": "2"},
        {"role": "assistant", "content": "y" * 80, "tool_calls": None},
        {"role": "user", "content": "thanks"},
        {"role": "assistant", "content": "bye"},
        {"role": "user", "content": "STOP"},
    ]
    first = sessions({"task_id": 0, "traj": trajectory}, unanswered)
    assert first == [
        Session(
            "tau-1",
            "agent",
            (
                Turn(3, 10, text="policy\n\nhello"),
                Turn(3, 20, pause=Pause.TOOL, tool="look", num_tools=2, text="found\n\nseen"),
                Turn(2, 1, pause=Pause.HUMAN, text="thanks"),
            ),
        )
    ]


def test_bfcl(sessions: Sessions) -> None:
    task = {
        "id": "multi_turn_base_0",
        "question": [[{"role": "user", "content": "move it"}], []],
        "function": [{"name": "mv"}],
    }
    (session,) = sessions(task)
    assert (session.session_id, session.traffic_class) == ("multi_turn_base_0", "agent")
    first, second = session.turns
    assert first == Turn(6, 55, text='[{"name": "mv"}]\n\nmove it')
    assert (second.pause, second.output_tokens) == (Pause.HUMAN, 55)
    assert second.text
