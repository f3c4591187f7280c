"""Formats that have a row a request: lengths, block hashes, sessions whose rows are scattered."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from abatch.engine.protocol.conversation import ChatMessage
from abatch.workloads.session import BlockPrompt, MessagePrompt, Pause, Session, Turn
from abatch.workloads.traces.parsing.trace_error import TraceError
from abatch.workloads.traces.trace import Trace

OpenText = Callable[..., Trace]
Sessions = Callable[..., list[Session]]

_BURSTGPT = "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type"


def test_azure(sessions: Sessions) -> None:
    assert sessions(
        "TIMESTAMP,ContextTokens,GeneratedTokens",
        "2023-11-16 23:59:59.5000000,300,40",
        "2023-11-17T00:00:01.2500009Z,0,50",
        '"2023-11-16 23:59:59.7500000","310","60"',
        "2023-11-17 01:00:02.5+01:00,7,8",
    ) == [
        Session("azure-2", "chat", (Turn(300, 40),), start_s=0.0),
        Session("azure-3", "chat", (Turn(1, 50),), start_s=1.75),
        # Out of order: it starts at once, not in the past.
        Session("azure-4", "chat", (Turn(310, 60),), start_s=1.75),
        Session("azure-5", "chat", (Turn(7, 8),), start_s=3.0),
    ]


def test_columns_are_found_by_name(sessions: Sessions) -> None:
    assert sessions("generatedtokens, TimeStamp ,extra,ContextTokens", "5,2024-05-10,x,6") == [
        Session("azure-2", "chat", (Turn(6, 5),), start_s=0.0)
    ]


def test_a_row_with_too_few_columns(sessions: Sessions) -> None:
    with pytest.raises(TraceError, match=r"sample.txt:2: expected 3 columns, got 2"):
        sessions("TIMESTAMP,ContextTokens,GeneratedTokens", "2024-05-10,5")


def test_lengths(sessions: Sessions) -> None:
    assert sessions("num_prefill_tokens,num_decode_tokens,num_total_tokens,pd_ratio", "74,918,992,0.08", "0,5,5,0") == [
        Session("lengths-2", "chat", (Turn(74, 918),)),
        Session("lengths-3", "chat", (Turn(1, 5),)),
    ]


def test_mooncake(sessions: Sessions) -> None:
    first = {"timestamp": 27000, "input_length": 1100, "output_length": 52, "hash_ids": [46, 47, 48]}
    second = {"timestamp": 30500, "input_length": 1024, "output_length": 7, "hash_ids": [46, 99]}
    empty = {"timestamp": 30500, "input_length": 0, "output_length": 7, "hash_ids": []}
    assert sessions(first, second, empty) == [
        Session(
            "mooncake-1",
            "chat",
            (Turn(1100, 52, prompt=BlockPrompt("trace", 512, 1100, (46, 47, 48))),),
            start_s=0.0,
        ),
        Session("mooncake-2", "chat", (Turn(1024, 7, prompt=BlockPrompt("trace", 512, 1024, (46, 99))),), start_s=3.5),
        Session("mooncake-3", "chat", (Turn(1, 7),), start_s=3.5),
    ]


def test_burstgpt_without_sessions(open_text: OpenText) -> None:
    trace = open_text(
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type",
        "5,ChatGPT,472,18,490,Conversation log",
        "45.5,ChatGPT,1087,0,1087,Conversation log",
        "46,GPT-4,0,30,30,API log",
        "118,GPT-4,417,276,693,API log",
    )
    assert list(trace.sessions()) == [
        Session("burstgpt-2", "chat", (Turn(472, 18),), start_s=0.0),
        Session("burstgpt-5", "chat", (Turn(417, 276),), start_s=113.0),
    ]
    assert (trace.num_dropped, trace.num_skipped) == (2, 0)


def test_burstgpt_with_sessions(open_text: OpenText) -> None:
    trace = open_text(
        _BURSTGPT,
        "100,7,2.5,ChatGPT,50,10,60,Conversation log",
        "90,8 b,,ChatGPT,60,20,80,Conversation log",
        "110,7,1,ChatGPT,0,10,10,Conversation log",
        "112,7,1,ChatGPT,80,5,85,Conversation log",
        "120,,1,ChatGPT,33,5,38,API log",
        "130,8 b,1,ChatGPT,40,9,49,Conversation log",
        "140,7,1,ChatGPT,70,6,76,Conversation log",
    )
    assert list(trace.sessions()) == [
        Session(
            "8%20b",
            "chat",
            # Fewer tokens than the conversation has: it begins anew. When the first answer ended nobody knows.
            (Turn(60, 20), Turn(40, 9, pause=Pause.HUMAN, gap_s=40.0, compacts=True)),
            start_s=0.0,
        ),
        Session(
            "7",
            "chat",
            (
                Turn(50, 10),
                Turn(20, 5, pause=Pause.HUMAN, pause_s=9.5),
                Turn(70, 6, pause=Pause.HUMAN, pause_s=27.0, compacts=True),
            ),
            start_s=10.0,
        ),
        Session("burstgpt-6", "chat", (Turn(33, 5),), start_s=30.0),
    ]
    assert (trace.num_dropped, trace.num_skipped) == (1, 0)


def test_burstgpt_requests_that_overlap(sessions: Sessions) -> None:
    rows = ["100,7,50,m,50,10,60,log", "110,7,,m,80,10,60,log", "105,7,,m,99,10,60,log"]
    (session,) = sessions(_BURSTGPT, *rows)
    assert [(turn.pause_s, turn.gap_s) for turn in session.turns] == [(0.0, 0.0)] * 3


def test_a_recorded_name_is_never_a_numbered_one(sessions: Sessions) -> None:
    row = "100,{},1,ChatGPT,50,10,60,Conversation log"
    names = ["", "burstgpt-2", "burstgpt%2D2", "a b", "a%20b", "%"]
    found = [session.session_id for session in sessions(_BURSTGPT, *map(row.format, names))]
    assert found == ["burstgpt-2", "burstgpt%2D2", "burstgpt%252D2", "a%20b", "a%2520b", "%25"]


def test_bad_rows_of_scattered_sessions_are_counted_once(open_text: OpenText) -> None:
    trace = open_text(
        _BURSTGPT,
        "100,7,1,ChatGPT,x,10,60,Conversation log",
        "never,7,1,ChatGPT,60,10,60,Conversation log",
        "120,7,1,ChatGPT,60,10,60,Conversation log",
        "130,9,1,ChatGPT,60,-1,60,Conversation log",
        skip_bad_rows=True,
    )
    assert list(trace.sessions()) == [Session("7", "chat", (Turn(60, 10),), start_s=0.0)]
    assert trace.num_skipped == 3


def test_aiperf_rows_on_their_own(sessions: Sessions) -> None:
    messages = [{"role": "user", "content": "x" * 40}]
    tools = [{"type": "function", "function": {"name": "look"}}]
    user = ChatMessage(role="user", content="x" * 40)
    schema = json.dumps(tools)
    found = sessions(
        {"input_length": 300, "output_length": 40, "timestamp": 500},
        {"input_length": 0},
        {"input_length": 600, "hash_ids": [1, 2], "timestamp": 1500, "delay": 7},
        {"input_length": 0, "hash_ids": []},
        {"text_input": "x" * 10, "output_length": 4},
        {"messages": messages, "output_length": 5, "extra": {"temperature": 1}},
        {"messages": [{"role": "system", "content": "hey"}, *messages], "tools": tools},
        {"messages": messages, "tools": None},
        {"payload": {"messages": messages, "tools": tools, "max_completion_tokens": 6, "max_tokens": 7}},
        {"payload": {"prompt": "x" * 40, "max_tokens": 8}, "timestamp": 2000},
        {"payload": {"prompt": "x" * 40, "max_tokens": 8}, "output_length": 9},
        {"messages": messages, "message_mode": "delta"},
    )
    assert [session.session_id for session in found] == [f"aiperf-{number}" for number in range(1, 13)]
    assert [session.start_s for session in found] == [0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.5, 1.5, 1.5]
    assert {session.traffic_class for session in found} == {"chat"}
    both = ChatMessage(role="system", content=f"{schema}\n\nhey")
    only = ChatMessage(role="system", content=schema)
    assert [session.turns for session in found] == [
        (Turn(300, 40),),
        (Turn(1, 128),),
        (Turn(600, 128, prompt=BlockPrompt("trace", 512, 600, (1, 2))),),
        (Turn(1, 128),),
        (Turn(2, 4, text="x" * 10),),
        (Turn(10, 5, prompt=MessagePrompt((user,))),),
        (Turn(round((len(schema) + 5 + 40) / 4), 128, prompt=MessagePrompt((both, user))),),
        (Turn(10, 128, prompt=MessagePrompt((user,))),),
        (Turn(round((len(schema) + 40) / 4), 6, prompt=MessagePrompt((only, user))),),
        (Turn(10, 8, prompt=MessagePrompt((user,))),),
        (Turn(10, 9, prompt=MessagePrompt((user,))),),
        (Turn(10, 128, text="x" * 40),),
    ]


def test_aiperf_sessions(sessions: Sessions) -> None:
    user = {"role": "user", "content": "x" * 40}
    answer = {"role": "assistant", "content": "y" * 20}
    result = {"role": "tool", "content": "z" * 8, "tool_call_id": "1"}
    first, second, third, alone = sessions(
        {"session_id": "a", "input_length": 1100, "hash_ids": [1, 2, 3], "output_length": 5, "timestamp": 9000},
        {"session_id": "b", "input_length": 30, "output_length": 5, "timestamp": 2000},
        {"session_id": "a", "input_length": 1700, "hash_ids": [1, 2, 4, 5], "output_length": 6, "timestamp": 9700},
        {"session_id": "c", "messages": [user], "output_length": 5, "timestamp": 9000},
        {"session_id": "b", "text_input": "x" * 12, "output_length": 6, "delay": 2500},
        {"input_length": 3, "output_length": 3},
        {"session_id": "a", "input_length": 1024, "hash_ids": [1, 2], "output_length": 7, "timestamp": 9600},
        {"session_id": "c", "messages": [user, answer, result], "output_length": 6},
    )[0:4]
    assert first == Session(
        "b", "chat", (Turn(30, 5), Turn(3, 6, pause=Pause.HUMAN, pause_s=2.5, text="x" * 12)), start_s=0.0
    )
    assert second == Session(
        "a",
        "chat",
        (
            Turn(1100, 5, prompt=BlockPrompt("trace", 512, 1100, (1, 2, 3))),
            # The third block of the first prompt was cut short, so it is not kept, same id or not.
            Turn(676, 6, pause=Pause.HUMAN, gap_s=0.7, prompt=BlockPrompt("trace", 512, 1700, (4, 5), 2)),
            Turn(1, 7, pause=Pause.HUMAN, prompt=BlockPrompt("trace", 512, 1024, (), 2)),
        ),
        start_s=7.0,
    )
    assert (third.session_id, third.start_s) == ("c", 7.0)
    assert [(turn.new_tokens, turn.pause) for turn in third.turns] == [(10, Pause.NONE), (7, Pause.TOOL)]
    assert alone == Session("aiperf-6", "chat", (Turn(3, 3),), start_s=7.0)


@pytest.mark.parametrize(("before", "after"), [(600, 600), (600, 1024), (1024, 600)])
def test_a_block_cut_short_is_not_kept(before: int, after: int, sessions: Sessions) -> None:
    row: dict[str, Any] = {"session_id": "a", "hash_ids": [1, 2], "output_length": 5}
    (session,) = sessions({**row, "input_length": before}, {**row, "input_length": after})
    first, second = session.turns
    assert (first.new_tokens, second.new_tokens) == (before, after - 512)
    assert second.prompt == BlockPrompt("trace", 512, after, (2,), 1)


def test_messages_that_were_changed_are_new(sessions: Sessions) -> None:
    first, answer, other, last = (
        {"role": role, "content": letter * 40} for role, letter in zip(["user", "assistant"] * 2, "abcd", strict=True)
    )
    rows = [[first], [first, answer, last], [other, answer, last], [other, answer], [other, answer]]
    (session,) = sessions(*({"session_id": "a", "messages": row} for row in rows))
    assert [turn.new_tokens for turn in session.turns] == [10, 20, 30, 1, 1]


def test_dates_without_a_time_zone_are_utc(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        header = "TIMESTAMP,ContextTokens,GeneratedTokens"
        # In New York the clocks went back an hour in between.
        _, second = sessions(header, "2023-11-05 00:30:00,5,5", "2023-11-05T12:30:00Z,5,5")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert second.start_s == 12 * 3600


def test_an_aiperf_trace_without_times(sessions: Sessions) -> None:
    rows = [{"input_length": 5}, {"input_length": 5, "timestamp": 2000}]
    assert [session.start_s for session in sessions(*rows)] == [None, None]


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"output_length": 5, "text_input": None, "input_length": None}, "input_length: expected exactly one of"),
        ({"input_length": 5, "text_input": "a"}, "text_input: expected exactly one of input_length, text_input, mess"),
        ({"input_length": 600, "hash_ids": [1]}, "hash_ids: expected 2 for 600 tokens, got 1"),
        ({"text_input": "a", "hash_ids": [1]}, "hash_ids: needs input_length"),
        ({"messages": []}, "messages: Expected `array` of length >= 1"),
        ({"messages": [{"role": "function"}]}, r"messages\[0\].role: Invalid enum value 'function'"),
        ({"payload": {"max_tokens": 5}}, "payload: expected either messages or prompt"),
        ({"payload": {"prompt": "a", "messages": [{"role": "user"}]}}, "payload: expected either messages or prompt"),
        ({"input_length": 5, "output_length": 0}, "output_length: Expected `int` >= 1"),
        ({"turns": []}, "turns: Expected `array` of length >= 1"),
        ({"input_length": 5, "delay": -1}, "delay: Expected `float` >= 0"),
        ({"input_length": 5, "session_id": 7}, "session_id: Expected `str | null`, got `int`"),
    ],
)
def test_aiperf_rows_that_are_wrong(row: dict[str, Any], complaint: str, sessions: Sessions) -> None:
    complaint = complaint.replace("|", r"\|")
    with pytest.raises(TraceError, match=f"^sample.txt:1: {complaint}"):
        sessions(row)


def test_openai_batch(sessions: Sessions) -> None:
    messages = [{"role": "user", "content": [{"type": "text", "text": "x" * 40}]}]
    request = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"messages": messages}}
    completion = {"custom_id": "a", "url": "/v1/completions", "body": {"prompt": "x" * 8, "max_tokens": 9}}
    first, second = sessions(request, completion)
    assert (first.session_id, second.session_id) == ("batch-1", "batch-2")
    assert (first.traffic_class, first.start_s, first.prefix) == ("chat", None, None)
    (turn,) = first.turns
    assert (turn.new_tokens, turn.output_tokens, turn.pause) == (10, 128, Pause.NONE)
    assert second.turns == (Turn(2, 9, prompt=MessagePrompt((ChatMessage(role="user", content="x" * 8),))),)
