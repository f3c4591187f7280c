"""Formats that recorded what was said, or say how to make it up."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from statistics import mean, median
from typing import Any

import msgspec
import pytest
from abatch.workloads.session import Pause, Session, SharedPrefix, Turn
from abatch.workloads.traces.parsing.numpy_distributions import AnyDistribution
from abatch.workloads.traces.parsing.trace_error import TraceError
from abatch.workloads.traces.trace import Trace

OpenText = Callable[..., Trace]
Sessions = Callable[..., list[Session]]


def _said(*messages: tuple[str, str]) -> dict[str, Any]:
    return {"id": "a", "conversations": [{"from": speaker, "value": text} for speaker, text in messages]}


def test_sharegpt(open_text: OpenText) -> None:
    talk = _said(("human", "x" * 20), ("gpt", "y" * 41), ("human", "z" * 4), ("gpt", ""))
    trace = open_text(json.dumps([talk, _said(), _said(("gpt", "hi"), ("human", "hello")), talk]))
    turns = (Turn(5, 10, text="x" * 20), Turn(1, 1, pause=Pause.HUMAN, text="z" * 4))
    assert list(trace.sessions()) == [Session("sharegpt-1", "chat", turns), Session("sharegpt-4", "chat", turns)]
    assert (trace.num_dropped, trace.num_skipped) == (2, 0)


def test_messages_without_a_partner(sessions: Sessions) -> None:
    talk = _said(
        ("gpt", "an answer to nothing"),
        ("system", "be nice"),
        ("human", "hello"),
        ("gpt", "y" * 40),
        ("gpt", "y" * 40),
        ("human", "one"),
        ("human", "two"),
        ("chatgpt", "z"),
        ("human", "nobody answers"),
    )
    (session,) = sessions(talk)
    assert session.turns == (
        Turn(4, 20, text="be nice\n\nhello"),
        Turn(2, 1, pause=Pause.HUMAN, text="one\n\ntwo"),
    )


def test_vllm_multi_turn(open_text: OpenText) -> None:
    def message(role: str, content: Any) -> dict[str, Any]:
        return {"role": role, "content": content}

    parts = [{"type": "text", "text": "x" * 8}]
    talk = [message("user", parts), message("assistant", "y" * 12), message("user", "q"), message("assistant", "r")]
    trace = open_text(json.dumps([{"id": 7, "messages": talk}, {"id": "b", "messages": talk[:1]}]))
    turns = (Turn(2, 3, text="x" * 8), Turn(1, 1, pause=Pause.HUMAN, text="q"))
    assert list(trace.sessions()) == [Session("7", "chat", turns)]
    assert trace.num_dropped == 1


def test_aiperf_multi_turn(sessions: Sessions) -> None:
    timed = [
        {"text": "x" * 8, "timestamp": 5000, "output_length": 9},
        {"texts": ["a", {"name": "text", "contents": ["b", "c"]}], "delay": 1500, "role": "tool"},
        {"text": "y", "timestamp": 9000},
    ]
    sent = [{"text": "x", "timestamp": 7000}, {"text": "y", "timestamp": 7250}]
    first, second, third = sessions({"session_id": "s", "turns": timed}, {"turns": sent}, {"turns": [{"text": "x"}]})
    assert first == Session(
        "s",
        "chat",
        (
            Turn(2, 9, text="x" * 8),
            Turn(2, 128, pause=Pause.TOOL, pause_s=1.5, text="a\n\nb\n\nc"),
            Turn(1, 128, pause=Pause.HUMAN, text="y"),
        ),
        start_s=0.0,
    )
    gap = Turn(1, 128, pause=Pause.HUMAN, gap_s=0.25, text="y")
    assert second == Session("aiperf-2", "chat", (Turn(1, 128, text="x"), gap), start_s=2.0)
    assert third.start_s == 2.0


def test_a_turn_is_sent_at_a_time_or_after_one(sessions: Sessions) -> None:
    turns = [{"text": "x"}, {"text": "x", "timestamp": 1, "delay": 1}]
    with pytest.raises(TraceError, match=r"sample.txt:1: turns\[1\].delay: expected either timestamp or delay"):
        sessions({"turns": turns})


def _constant(value: float) -> dict[str, Any]:
    return {"distribution": "constant", "value": value}


def _recipe(**inputs: Any) -> dict[str, Any]:
    source = {"num_turns": _constant(5), "num_tokens": _constant(120), "prefix_num_tokens": _constant(40), **inputs}
    return {
        "filetype": "generate_conversations",
        "num_conversations": 3,
        "text_files": ["book.txt"],
        "prompt_input": source,
        "prompt_output": {"num_tokens": _constant(80)},
    }


@pytest.mark.parametrize("indent", [None, 4])
def test_generate_conversations(indent: int | None, open_text: OpenText) -> None:
    trace = open_text(json.dumps(_recipe(), indent=indent))
    assert (trace.format, trace.has_timestamps) == ("generate_conversations", False)
    later = Turn(120, 80, pause=Pause.HUMAN)
    assert list(trace.sessions()) == [
        Session(f"generated-{number}", "chat", (Turn(160, 80), later, later)) for number in range(3)
    ]


def test_the_common_prefix_is_shared(sessions: Sessions) -> None:
    found = sessions(_recipe(common_prefix_num_tokens=_constant(100), num_turns=_constant(1)))
    assert {session.prefix for session in found} == {SharedPrefix("generate_conversations", 100)}
    assert found[0].turns == (Turn(60, 80),)
    (turn,) = sessions(_recipe(common_prefix_num_tokens=_constant(500), num_turns=_constant(2)))[0].turns
    assert turn.new_tokens == 41


def test_there_is_always_something_to_send(sessions: Sessions) -> None:
    recipe = _recipe(num_turns=_constant(0), num_tokens=_constant(0), prefix_num_tokens=_constant(0))
    recipe["prompt_output"]["num_tokens"] = _constant(0)
    assert [session.turns for session in sessions(recipe)] == [(Turn(1, 1),)] * 3
    (first, *_), *_ = (session.turns for session in sessions(_recipe(num_tokens=_constant(0))))
    assert first.new_tokens == 41
    assert sessions(_recipe(num_tokens=_constant(0)))[0].turns[1].new_tokens == 1


def test_conversations_are_generated_alike_each_time(open_text: OpenText) -> None:
    uniform = {"distribution": "uniform", "min": 10, "max": 20}
    trace = open_text(json.dumps(_recipe(num_tokens=uniform)))
    first = list(trace.sessions())
    assert first == list(trace.sessions())
    tokens = [turn.new_tokens for session in first for turn in session.turns[1:]]
    assert len(set(tokens)) > 1
    assert all(10 <= count <= 20 for count in tokens)


@pytest.mark.parametrize(
    ("distribution", "expected_mean", "expected_median", "largest"),
    [
        ({"distribution": "uniform", "min": 12, "max": 18}, 15, 15, 18),
        ({"distribution": "uniform", "min": 12.0, "max": 18}, 15, 15, 18),
        ({"distribution": "lognormal", "average": 1000}, 1000, 850, 1e6),
        ({"distribution": "lognormal", "average": 1000, "median_ratio": 0.5, "max": 900}, 527, 500, 900),
        ({"distribution": "lognormal", "mean": 3.0, "sigma": 0.1}, 20.2, 20.1, 1e6),
        ({"distribution": "poisson", "alpha": 6}, 6, 6, 1e6),
        ({"distribution": "poisson", "alpha": 4000, "max": 4100}, 3998, 4000, 4100),
        ({"distribution": "poisson", "alpha": 6, "max": 0}, 6, 6, 1e6),
        ({"distribution": "zipf", "alpha": 1.001, "max": 1}, 1, 1, 1),
        ({"distribution": "zipf", "alpha": 3}, 1.37, 1, 1e7),
        ({"distribution": "zipf", "alpha": 1.5, "max": 10}, 4.28, 2, 10),
    ],
)
def test_distributions(
    distribution: dict[str, Any], expected_mean: float, expected_median: float, largest: float
) -> None:
    source: AnyDistribution = msgspec.convert(distribution, AnyDistribution)
    random = Random(0)
    draws = [source.draw(random) for _ in range(20_000)]
    assert mean(draws) == pytest.approx(expected_mean, rel=0.05)
    assert median(draws) == pytest.approx(expected_median, rel=0.05)
    assert max(draws) <= largest


@pytest.mark.parametrize(
    ("distribution", "complaint"),
    [
        ({"distribution": "gamma", "alpha": 1}, r"\.distribution: Invalid value 'gamma'"),
        ({"distribution": "uniform", "min": 0, "max": 5}, ": expected min above 0"),
        ({"distribution": "uniform", "min": 9, "max": 5}, ": expected min above 0 and at most max, got 9 and 5"),
        ({"distribution": "uniform", "min": 9, "max": 1e9}, ": expected min above 0"),
        ({"distribution": "lognormal", "sigma": 1}, ": expected average, or mean"),
        ({"distribution": "lognormal", "average": 5, "sigma": 1}, ": expected either average or mean and sigma"),
        ({"distribution": "lognormal", "mean": -1, "sigma": 1}, ": expected average, or mean"),
        ({"distribution": "zipf", "alpha": 1}, r"\.alpha: Expected `float` > 1"),
        ({"distribution": "poisson"}, r"\.alpha: is missing"),
    ],
)
def test_distributions_that_cannot_be(distribution: dict[str, Any], complaint: str, sessions: Sessions) -> None:
    with pytest.raises(TraceError, match=rf"sample.txt:1: prompt_input\.num_tokens{complaint}"):
        sessions(_recipe(num_tokens=distribution))
