"""What a target saw of an answer, in the result that is kept: written, read back, and refused where it cannot be."""

from __future__ import annotations

import msgspec
import pytest
from abatch.workloads.result import Result
from abatch.workloads.session import Session, Turn
from abatch.workloads.targets.target import Reply
from abatch.workloads.turn_result import turn_result
from support.results import make_result

_SESSION = Session("s", "chat", (Turn(new_tokens=5, output_tokens=8),))


def _result(reply: Reply, *, is_cut: bool = False) -> Result:
    return turn_result(
        _SESSION,
        0,
        reply,
        due_s=1.0,
        pause_s=0.0,
        now_s=5.0,
        origin_s=100.0,
        shared_tokens=None,
        is_cut=is_cut,
        is_warmup=False,
    )


def _saved(result: Result) -> Result:
    return msgspec.json.decode(msgspec.json.encode(result), type=Result)


def test_everything_seen_of_an_answer_is_kept() -> None:
    reply = Reply(sent_s=101.0, first_s=101.5, first_answer_s=102.5, last_s=104.0, finished_s=104.0)
    reply.reasoning, reply.text = ["hm"], ["yes"]
    reply.output_tokens, reply.reasoning_tokens = 8, 5
    reply.was_streamed, reply.malformed_events, reply.retries = False, 3, 1
    reply.connect_s, reply.dns_s, reply.tls_s = 0.4, 0.1, 0.2
    result = _saved(_result(reply))
    assert (result.first_s, result.first_answer_s, result.end_s) == (1.5, 2.5, 4.0)
    assert (result.had_reasoning, result.output_tokens, result.reasoning_tokens) == (True, 8, 5)
    assert (result.was_streamed, result.malformed_events, result.retries) == (False, 3, 1)
    assert (result.connect_s, result.dns_s, result.tls_s) == (0.4, 0.1, 0.2)
    assert (result.ttft_us, result.ttfa_us, result.is_unanswered) == (500_000, 1_500_000, False)


def test_without_reasoning_the_first_answer_token_is_the_first() -> None:
    reply = Reply(sent_s=101.0, first_s=101.5, first_answer_s=101.5, finished_s=104.0, text=["yes"])
    result = _result(reply)
    assert result.first_answer_s is None, "it would say the same on every line"
    assert result.ttfa_us == result.ttft_us == 500_000
    assert not result.is_unanswered


@pytest.mark.parametrize("is_cut", [False, True])
def test_an_answer_that_ends_inside_its_reasoning_has_a_lower_bound(is_cut: bool) -> None:
    reply = Reply(sent_s=101.0, first_s=101.5, finished_s=None if is_cut else 104.0, reasoning=["hm"])
    result = _result(reply, is_cut=is_cut)
    assert result.is_unanswered
    assert result.ttfa_us == (4_000_000 if is_cut else 3_000_000)


def test_lines_of_older_runs_read_as_before() -> None:
    line = {"session_id": "s", "turn_index": 0, "traffic_class": "chat", "due_s": 1.0, "end_s": 2.0, "first_s": 1.5}
    old = msgspec.json.encode(line | {"connect_s": 0.1})
    result = msgspec.json.decode(old, type=Result)
    assert (result.was_streamed, result.had_reasoning, result.tls_s, result.retries) == (True, False, 0.0, 0)
    assert result.ttfa_us == result.ttft_us
    assert result.problem() is None


@pytest.mark.parametrize("first_answer_s", [0.5, 3.0])
def test_an_answer_token_before_the_first_or_after_the_end_is_damage(first_answer_s: float) -> None:
    damaged = make_result(1000, gaps_ms=(1000.0,), had_reasoning=True, first_answer_s=first_answer_s)
    assert damaged.problem() == "first_answer_s is not between first_s and end_s"
    assert make_result(1000, gaps_ms=(1000.0,), had_reasoning=True, first_answer_s=1.5).problem() is None


@pytest.mark.parametrize("field", ["malformed_events", "retries", "reasoning_tokens", "tls_s", "first_answer_s"])
def test_numbers_below_zero_are_refused(field: str) -> None:
    line = msgspec.to_builtins(make_result()) | {field: -1}
    with pytest.raises(msgspec.ValidationError, match=field):
        msgspec.convert(line, Result)


def test_tokens_that_were_never_shown_make_no_pace() -> None:
    hidden = make_result(gaps_ms=(10.0,) * 9, output_tokens=110, reasoning_tokens=100)
    assert hidden.tpot_us == 10_000, "ten tokens were shown"
    aloud = make_result(gaps_ms=(10.0,) * 9, output_tokens=10, reasoning_tokens=5, had_reasoning=True)
    assert aloud.tpot_us == 10_000
    more_than_all = make_result(gaps_ms=(10.0,) * 9, output_tokens=10, reasoning_tokens=50)
    assert more_than_all.tpot_us is None
