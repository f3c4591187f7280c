"""Streams of chat answers in every shape that servers have been seen to give them."""

from __future__ import annotations

import json

import pytest
from abatch.workloads.http.faults import RefusedError
from abatch.workloads.targets.streams import bounds
from abatch.workloads.targets.target import Reply
from support.answers import DONE, END, STEP_S, USAGE, answered, delta, event, text

THREE = text("a") + text(" b") + text(" c")
_ROLE = delta('"role":"assistant","content":""')


def summary(reply: Reply) -> tuple[str | None, str, str, int]:
    """Class of failure, text, reasoning, and events that could not be read."""
    return reply.error, "".join(reply.text), "".join(reply.reasoning), reply.malformed_events


@pytest.mark.parametrize(
    "odd",
    [
        "",
        _ROLE,
        delta('"role":"assistant","content":null,"refusal":null,"tool_calls":[],"function_call":null,"audio":null'),
        delta(""),
        event(""),
        "data\n\n",
        event("{}"),
        ": OPENROUTER PROCESSING\n\n",
        ":\n\n",
        "event: ping\ndata: 2026-11-28 11:00:00\n\n",
        "event: keepalive\n\n",
        event('{"type":"ping"}'),
        "id: 4\nretry: 1000\n\n",
        event('{"choices":[]}'),
        event('{"choices":null,"usage":null,"error":null}'),
        event('{"choices":[null]}'),
        event('{"choices":[{"delta":null,"finish_reason":""}]}'),
        event('{"choices":[{"delta":[],"finish_reason":"null"}]}'),
        event('{"choices":[{"index":0}]}'),
        event('{"choices":[],"prompt_filter_results":[{"prompt_index":0}]}'),
        event('{"choices":[{"delta":{"content":""},"content_filter_results":{"hate":{"filtered":false}}}]}'),
        event('{"error":{},"choices":[{"delta":{"content":""}}]}'),
        event('{"error":"","choices":[]}'),
        event('{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":1}}'),
        event('{"usage":{"prompt_tokens":9,"completion_tokens":1}}'),
    ],
)
def test_what_says_nothing_changes_nothing(odd: str) -> None:
    for reads in ((odd, THREE), (text("a"), odd, text(" b") + text(" c"))):
        reply = answered(*reads, END, USAGE, DONE)
        assert summary(reply) == (None, "a b c", "", 0)
        assert (reply.finish_reason, reply.output_tokens, reply.first_answer_s) == ("stop", 3, reply.first_s)


@pytest.mark.parametrize(
    "odd",
    [
        event(": PROCESSING"),
        event("null"),
        event("7"),
        event('"text"'),
        event("[]"),
        event("{oops"),
        event('{"choices":{"0":{"delta":{"content":"lost"}}}}'),
        event('{"choices":"lost"}'),
        event('{"choices":["lost"]}'),
        event('{"choices":[{"delta":"lost"}]}'),
        event('{"choices":[{"delta":["lost"]}]}'),
        delta('"content":7'),
        delta('"content":true'),
        delta('"content":{"markdown":"lost"}'),
        delta('"content":[{"type":"text","value":"lost"}]'),
        delta('"content":[[[[["lost"]]]]]'),
        event('{"token":{"text":"lost"}}'),
        event('{"message":{"content":"lost"},"done":false}'),
        event('{"content":"lost","stop":false}'),
        "event: status\ndata: lost\n\n",
        event("[" * 100_000),
        event('{"choices":' + "[" * 100_000),
    ],
    ids=lambda odd: odd[:40],
)
def test_what_may_have_had_text_is_counted(odd: str) -> None:
    reply = answered(text("a"), odd, text(" b") + text(" c"), END, USAGE, DONE)
    assert summary(reply) == (None, "a b c", "", 1)
    alone = answered(odd, END, DONE)
    assert alone.error == "bad_response"
    assert "cannot be read" in (alone.error_message or "")


_T = '{"type":"text","text":"%s"}'


@pytest.mark.parametrize(
    ("one", "written", "thought"),
    [
        (delta(f'"content":[{_T % "x"},{_T % "y"}]'), "xy", ""),
        (delta(f'"content":{_T % "xy"}'), "xy", ""),
        (delta('"content":["x","y"]'), "xy", ""),
        (delta('"content":[{"type":"output_text","text":"xy"}]'), "xy", ""),
        (delta(f'"content":[{{"type":"thinking","thinking":[{_T % "xy"}]}}]'), "", "xy"),
        (delta('"content":[{"type":"thinking","thinking":"x"},{"type":"text","text":"y"}]'), "y", "x"),
        (delta('"content":[{"type":"reasoning","summary":[{"type":"summary_text","text":"xy"}]}]'), "", "xy"),
        (delta('"content":null,"reasoning_content":"xy"'), "", "xy"),
        (delta('"content":"","reasoning":"xy","reasoning_content":"xy"'), "", "xy"),
        (delta('"reasoning":"xy","reasoning_details":[{"type":"reasoning.text","text":"xy"}]'), "", "xy"),
        (delta('"reasoning_details":[{"type":"reasoning.summary","summary":"xy"}]'), "", "xy"),
        (delta('"thinking":"xy"'), "", "xy"),
        (delta('"reasoning":{"content":"xy"}'), "", "xy"),
        (event('{"choices":[{"message":{"content":"xy"}}]}'), "xy", ""),
        (event('{"choices":[{"text":"xy"}]}'), "xy", ""),
        ('data: {"choices":\ndata: [{"delta":{"content":\ndata: "xy"}}]}\n\n', "xy", ""),
        ("event: message\nid: 1\n" + text("xy"), "xy", ""),
        (delta(r'"content":"\ud83d"'), "\ufffd", ""),
        (delta(r'"content":"\\ud83d\ud83d\ude00\udE00"'), "\\ud83d\N{GRINNING FACE}\ufffd", ""),
    ],
)
def test_content_in_other_shapes(one: str, written: str, thought: str) -> None:
    reply = answered(one, END, USAGE, DONE)
    assert summary(reply) == (None, written, thought, 0)
    assert (reply.first_answer_s is None) is not bool(written)


def test_bytes_that_are_no_text_are_replaced() -> None:
    reply = answered(text("?").encode().replace(b"?", b"\xe2\x82"), text("?").encode().replace(b"?", b"\xac"), END)
    assert summary(reply) == (None, "\ufffd\ufffd", "", 0)


def test_a_text_that_comes_again_in_the_end_counts_once() -> None:
    again = event('{"object":"chat.completion","choices":[{"finish_reason":"stop","message":{"content":"a b c"}}]}')
    assert summary(answered(text("a"), text(" b"), text(" c"), again)) == (None, "a b c", "", 0)
    pieces = [event(f'{{"choices":[{{"message":{{"content":"{piece}"}}}}]}}') for piece in ("a", " b", " c")]
    assert summary(answered(*pieces, END)) == (None, "a b c", "", 0)


@pytest.mark.parametrize(
    "calls",
    [
        '"tool_calls":[{"index":0,"id":"x","type":"function","function":{"name":"f","arguments":""}}]',
        '"tool_calls":[{"index":0,"function":{"arguments":"{"}}]',
        '"tool_calls":{"name":"f"}',
        '"tool_calls":[{"function":{"name":"f","arguments":{"a":[1,{"b":null}]}}}]',
        '"tool_calls":"f()"',
        '"function_call":{"name":"f","arguments":"{}"}',
        '"audio":{"data":"UklGRg=="}',
        '"refusal":"I cannot"',
        '"content":[{"type":"image_url","image_url":{"url":"x"}},{"type":"refusal","refusal":"no"}]',
    ],
)
def test_tool_calls_and_the_like_are_content_of_the_answer(calls: str) -> None:
    reply = answered(delta('"reasoning":"hm"'), delta(calls), END, DONE)
    assert summary(reply) == (None, "", "hm", 0)
    assert (len(reply.gaps_us), reply.first_answer_s) == (1, reply.last_s)


@pytest.mark.parametrize(
    ("reason", "read"),
    [
        ('"stop"', "stop"),
        ("0", "0"),
        ("2", "2"),
        ('{"type":"stop"}', "stop"),
        ("true", "True"),
        ('["stop"]', "['stop']"),
    ],
)
def test_a_finish_reason_of_any_type(reason: str, read: str) -> None:
    reply = answered(THREE, event(f'{{"choices":[{{"delta":{{}},"finish_reason":{reason}}}]}}'))
    assert (reply.error, reply.finish_reason) == (None, read)


@pytest.mark.parametrize(
    "end", [[USAGE, DONE], [USAGE], [DONE], [event('"[DONE]"')], ["data: [DONE]"], [USAGE.strip()]]
)
def test_text_and_an_orderly_end_are_an_answer(end: list[str]) -> None:
    reply = answered(text("a"), text("b"), *end)
    assert (reply.error, reply.finish_reason, reply.text) == (None, None, ["a", "b"])
    assert reply.finished_s == pytest.approx(1.04 + STEP_S * (len(end) - 1 + (not end[-1].endswith("\n"))))
    with_reason = answered(text("a"), END.strip())
    assert (with_reason.error, with_reason.finish_reason) == (None, "stop")


def test_text_without_an_end_is_half_an_answer() -> None:
    every = event('{"choices":[{"delta":{"content":"a"}}],"usage":{"completion_tokens":1}}')
    for reads in ((text("a"), text("b")), (every, text("b")), (_ROLE,), ("",), (": ping\n\n",)):
        assert answered(*reads).error == "disconnected"
    assert answered(every, every).error is None


def test_text_behind_the_end_is_counted_and_belongs_to_nothing() -> None:
    reply = answered(text("a"), END, DONE, text("b"), DONE, USAGE, event("x"))
    assert summary(reply) == (None, "a", "", 2)
    assert (reply.output_tokens, reply.gaps_us) == (3, [])
    assert summary(answered(text("a") + END + DONE + text("b")))[3] == 1


def test_text_behind_the_finish_reason_is_part_of_the_answer() -> None:
    reply = answered(text("a"), END, text("b"), DONE)
    assert (reply.error, reply.text) == (None, ["a", "b"])
    assert reply.finished_s == reply.last_s
    every = event('{"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}')
    reply = answered(every, every, every, DONE)
    assert reply.finished_s == reply.last_s == pytest.approx(1.04)


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        ('event: error\ndata: {"message":"out of memory","code":500}\n\n', "out of memory"),
        ('event: error\ndata: {"error":"overloaded","error_type":"overloaded"}\n\n', "overloaded"),
        ("event: error\ndata: out of memory\n\n", "out of memory"),
        ("event: error\ndata:\n\n", "(no text)"),
        ("event: error\n\n", "(no text)"),
        ('error: {"message":"slot unavailable"}\n\n', "slot unavailable"),
        (event('{"error":{"message":"boom","type":"x","code":500}}'), "boom"),
        (event('{"error":"boom"}'), "boom"),
        (event('{"error":{"code":7}}'), "7"),
        (event('{"object":"error","message":"boom","type":"x","code":400}'), "boom"),
        (event('{"type":"error","error":{"type":"overloaded_error","message":"boom"}}'), "boom"),
        (event('{"message":"boom","code":500}'), "boom"),
    ],
)
def test_failures_in_a_stream(failure: str, message: str) -> None:
    for reads in ([text("a"), failure, DONE], [failure], [failure, text("b"), END, DONE]):
        reply = answered(*reads)
        assert reply.error == "server_error"
        assert message in (reply.error_message or "")


@pytest.mark.parametrize("reason", ["error", "ABORT", "cancelled"])
def test_a_server_that_gives_up_on_an_answer(reason: str) -> None:
    reply = answered(text("a"), event(f'{{"choices":[{{"delta":{{}},"finish_reason":"{reason}"}}]}}'), USAGE, DONE)
    assert reply.error == "server_error"
    assert f"finish_reason {reason!r}" in (reply.error_message or "")


def test_what_a_filter_ends_is_an_answer() -> None:
    reply = answered(THREE, event('{"choices":[{"delta":{},"finish_reason":"content_filter"}]}'), DONE)
    assert (reply.error, reply.finish_reason) == (None, "content_filter")


_WHOLE = {"choices": [{"message": {"role": "assistant", "content": "a b c"}, "finish_reason": "stop"}]}


@pytest.mark.parametrize("start", ["", "\n\n \n", "\ufeff"])
def test_json_in_place_of_a_stream_is_an_answer_that_was_not_streamed(start: str) -> None:
    body = start + json.dumps(_WHOLE | {"usage": {"prompt_tokens": 20, "completion_tokens": 3}}, indent=1)
    reply = answered(body[:2], body[2:30], body[30:])
    assert summary(reply) == (None, "a b c", "", 0)
    assert (reply.finish_reason, reply.output_tokens, reply.was_streamed) == ("stop", 3, False)
    assert reply.first_s == reply.finished_s == reply.first_answer_s
    assert reply.gaps_us == []


def test_json_has_the_limit_of_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "EVENT_BYTES", 1000)
    with pytest.raises(RefusedError, match="a JSON answer of more than 1,000 bytes"):
        answered('{"choices":[', '{"message":{"content":"' + "w" * 1000)


def test_json_that_is_no_answer_is_not_one() -> None:
    failed = answered('{"error":{"message":"not today","type":"x"}}')
    assert (failed.error, failed.error_message) == ("server_error", "not today")
    cut_off = answered(json.dumps(_WHOLE)[:-2])
    assert (cut_off.error, cut_off.text) == ("bad_response", [])
    for body in ('{"status":"ok"}', "[1,2]", '[{"choices":[]}]'):
        assert answered(body).error == "bad_response"
    assert answered('{"choices":[{"message":{"content":""},"finish_reason":"stop"}]}').error == "empty"


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ('"prompt_tokens":20.0,"completion_tokens":3.0', (20, 3, None, None)),
        ('"prompt_tokens":"20","completion_tokens":"3"', (20, 3, None, None)),
        ('"prompt_tokens":20,"completion_tokens":3,"prompt_tokens_details":[]', (20, 3, None, None)),
        ('"prompt_tokens":20,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":16}', (20, 3, 16, None)),
        ('"prompt_tokens":20,"completion_tokens":3,"prompt_cache_hit_tokens":16', (20, 3, 16, None)),
        ('"prompt_tokens":20,"completion_tokens":3,"cached_tokens":16', (20, 3, 16, None)),
        (
            '"prompt_tokens":20,"completion_tokens":3,"completion_tokens_details":{"reasoning_tokens":2}',
            (20, 3, None, 2),
        ),
        ('"prompt_tokens":20,"completion_tokens":3,"reasoning_tokens":2', (20, 3, None, 2)),
        ('"prompt_tokens":20,"completion_tokens":3,"reasoning_tokens":9', (20, 3, None, None)),
    ],
)
def test_token_counts_in_other_shapes(usage: str, counts: tuple[int | None, ...]) -> None:
    in_choice = event(f'{{"choices":[{{"delta":{{}},"finish_reason":"stop","usage":{{{usage}}}}}]}}')
    for reads in ([THREE, END, event(f'{{"choices":[],"usage":{{{usage}}}}}'), DONE], [THREE, in_choice, DONE]):
        reply = answered(*reads)
        assert (reply.prompt_tokens, reply.output_tokens, reply.cached_tokens, reply.reasoning_tokens) == counts
        assert not reply.has_odd_usage


def test_the_last_usage_counts_wherever_it_is() -> None:
    def counted(number: int, content: str) -> str:
        return event(f'{{"choices":[{{"delta":{{"content":"{content}"}}}}],"usage":{{"completion_tokens":{number}}}}}')

    assert answered(counted(0, ""), counted(1, "a"), counted(2, "b"), END, DONE).output_tokens == 2
    assert answered(USAGE, THREE, END, DONE).output_tokens == 3
    assert answered(THREE, USAGE, END, event('{"choices":[],"usage":{}}'), DONE).output_tokens == 3
