"""What a null server does is worked out beforehand: the plan, without a server."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from abatch.engine.errors import ConfigurationError
from abatch.engine.null_server.behaviour import Answer, Behaviour, Fault
from hypothesis import given
from hypothesis import strategies as st

_SECONDS = st.floats(0, 5, allow_nan=False)


@st.composite
def behaviours(draw: st.DrawFn) -> Behaviour:
    """Any behaviour, without a freeze."""
    return Behaviour(
        ttft_s=draw(_SECONDS),
        prefill_tokens_per_s=draw(st.none() | st.floats(0.1, 1e6)),
        itl_s=draw(st.sampled_from((0.0, 0.0002, 0.002)) | _SECONDS),
        jitter=draw(st.sampled_from((0.0, 3.0)) | st.floats(0, 3)),
        tokens_per_chunk=draw(st.integers(1, 7)),
        burst=draw(st.integers(1, 5)),
        header_delay_s=draw(_SECONDS),
        stall_every=draw(st.none() | st.integers(1, 3)),
        stall_for_s=draw(_SECONDS),
        error_rate=draw(st.floats(0, 0.5)),
        reset_rate=draw(st.floats(0, 0.5)),
        seed=draw(st.integers(0, 3)),
    )


_CALLS = st.tuples(st.integers(0, 50), _SECONDS, st.integers(0, 1000), st.integers(1, 40))
"""Number, arrival, prompt tokens, output tokens."""


@given(behaviours(), _CALLS)
def test_an_answer_is_in_order_and_whole(behaviour: Behaviour, call: tuple[int, float, int, int]) -> None:
    _, arrived_s, _, max_tokens = call
    answer = behaviour.answer(*call)
    assert arrived_s <= answer.header_s <= answer.chunk_s[0]
    assert all(earlier <= later for earlier, later in pairwise(answer.chunk_s)), "time never runs backwards"
    assert len(answer.chunk_s) == len(answer.tokens) == math.ceil(max_tokens / behaviour.tokens_per_chunk)
    assert sum(answer.tokens) == max_tokens
    assert all(0 < tokens <= behaviour.tokens_per_chunk for tokens in answer.tokens)
    assert answer == behaviour.answer(*call), "the same request at the same time is answered alike"


@given(behaviours(), _CALLS, _SECONDS, _SECONDS)
def test_a_freeze_shifts_what_comes_behind_it_and_nothing_else(
    thawed: Behaviour, call: tuple[int, float, int, int], freeze_at_s: float, freeze_for_s: float
) -> None:
    _, arrived_s, _, _ = call
    frozen = replace(thawed, freeze_at_s=freeze_at_s, freeze_for_s=freeze_for_s)
    end_s = freeze_at_s + freeze_for_s

    def shifted(at_s: float) -> float:
        if freeze_at_s <= arrived_s < end_s:  # looked at when the freeze is over, and begun then
            return at_s + end_s - arrived_s
        return at_s + freeze_for_s if arrived_s < freeze_at_s <= at_s else at_s

    before, after = thawed.answer(*call), frozen.answer(*call)
    times = (after.header_s, *after.chunk_s)
    assert list(times) == pytest.approx([shifted(at_s) for at_s in (before.header_s, *before.chunk_s)])
    assert not [at_s for at_s in times if freeze_at_s <= at_s < end_s], "nothing is written meanwhile"
    assert (after.tokens, after.fault) == (before.tokens, before.fault)


def _gaps(answer: Answer) -> list[float]:
    return [later - earlier for earlier, later in pairwise(answer.chunk_s)]


def test_an_answer_as_told() -> None:
    answer = Behaviour(ttft_s=0.1, prefill_tokens_per_s=1000, itl_s=0.02, tokens_per_chunk=4).answer(0, 7.0, 300, 10)
    assert answer.header_s == 7.0
    assert answer.chunk_s == pytest.approx([7.4, 7.42, 7.44])
    assert answer.tokens == (4, 4, 2)
    assert answer.fault is None


def test_headers_hold_the_first_chunk_back() -> None:
    answer = Behaviour(ttft_s=0.1, itl_s=0.02, header_delay_s=0.5).answer(0, 0.0, 0, 2)
    assert answer.header_s == 0.5
    assert answer.chunk_s == pytest.approx([0.5, 0.52])


def test_a_burst_comes_when_its_last_chunk_is_due() -> None:
    answer = Behaviour(ttft_s=0.1, itl_s=0.02, burst=3).answer(0, 0.0, 0, 5)
    assert answer.chunk_s == pytest.approx([0.14, 0.141, 0.142, 0.18, 0.181])
    fast = Behaviour(ttft_s=0.0, itl_s=0.0001, burst=10).answer(0, 0.0, 0, 1000)
    assert fast.chunk_s[-1] < 1000 * 0.0001 + 0.01, "bursts do not wait for each other"


def test_every_so_many_requests_stall_in_their_middle() -> None:
    behaviour = Behaviour(itl_s=0.01, stall_every=3, stall_for_s=2.0)
    longest = [max(_gaps(behaviour.answer(number, 0.0, 0, 9))) for number in range(9)]
    assert longest == pytest.approx([0.01, 0.01, 2.01] * 3)
    gaps = _gaps(behaviour.answer(2, 0.0, 0, 9))
    assert gaps.index(max(gaps)) == 3


@pytest.mark.parametrize("jitter", [0.1, 0.5, 1.0])
def test_jitter_spreads_and_does_not_slow_down(jitter: float) -> None:
    behaviour = Behaviour(ttft_s=1.0, itl_s=1.0, jitter=jitter)
    answers = [behaviour.answer(number, 0.0, 0, 100) for number in range(300)]
    for factors in ([gap for answer in answers for gap in _gaps(answer)], [answer.chunk_s[0] for answer in answers]):
        error = 4 * jitter / math.sqrt(len(factors))
        assert statistics.fmean(factors) == pytest.approx(1.0, abs=error)
        assert min(factors) > 0
    gaps = [gap for answer in answers for gap in _gaps(answer)]
    assert statistics.stdev(gaps) == pytest.approx(jitter, rel=0.15)


def test_faults_have_their_share() -> None:
    behaviour = Behaviour(error_rate=0.1, reset_rate=0.2)
    faults = Counter(behaviour.answer(number, 0.0, 0, 1).fault for number in range(5000))
    assert faults[Fault.ERROR] / 5000 == pytest.approx(0.1, abs=0.02)
    assert faults[Fault.RESET] / 5000 == pytest.approx(0.2, abs=0.02)
    assert {Behaviour(error_rate=1.0).answer(number, 0.0, 0, 1).fault for number in range(100)} == {Fault.ERROR}
    assert {Behaviour(reset_rate=1.0).answer(number, 0.0, 0, 1).fault for number in range(100)} == {Fault.RESET}


def test_answers_and_prompts_of_another_size() -> None:
    asked = Behaviour().answer(0, 0.0, 500, 40)
    assert (sum(asked.tokens), asked.finish_reason, asked.prompt_tokens) == (40, "length", 500)
    short = Behaviour(stop_after=3, tokens_per_chunk=2).answer(0, 0.0, 500, 40)
    assert (short.tokens, short.finish_reason) == ((2, 1), "stop")
    assert Behaviour(stop_after=3).answer(0, 0.0, 0, 2).finish_reason == "length", "fewer were asked for"
    cut = Behaviour(ttft_s=0.0, prefill_tokens_per_s=1000, cut_prompts=100).answer(0, 0.0, 500, 1)
    assert (cut.prompt_tokens, cut.chunk_s) == (100, (0.1,))
    assert Behaviour(finish_reason="abort").answer(0, 0.0, 0, 2).finish_reason == "abort"


def test_another_seed_is_another_server() -> None:
    answers = {Behaviour(jitter=0.5, seed=seed).answer(0, 0.0, 0, 5).chunk_s for seed in range(5)}
    assert len(answers) == 5


@pytest.mark.parametrize(
    ("wrong", "flag"),
    [
        ({"ttft_s": -0.1}, "--ttft"),
        ({"itl_s": math.nan}, "--itl"),
        ({"jitter": math.inf}, "--jitter"),
        ({"header_delay_s": -1.0}, "--header-delay"),
        ({"freeze_at_s": -1.0}, "--freeze-at"),
        ({"freeze_for_s": -1.0}, "--freeze-for"),
        ({"stall_for_s": -1.0}, "--stall-for"),
        ({"tokens_per_chunk": 0}, "--tokens-per-chunk"),
        ({"burst": 0}, "--burst"),
        ({"stall_every": 0}, "--stall-every"),
        ({"stop_after": 0}, "--stop-after"),
        ({"tool_calls": 0}, "--tool-calls"),
        ({"malformed_rate": 1.5}, "--malformed-rate"),
        ({"cut_prompts": 0}, "--cut-prompts"),
        ({"prefill_tokens_per_s": math.nan}, "--prefill-rate"),
        ({"prefill_at_once": 0}, "--prefill-at-once"),
        ({"error_rate": 1.1}, "--error-rate"),
        ({"error_rate": math.nan}, "--error-rate"),
        ({"error_rate": 0.6, "reset_rate": 0.6}, "--reset-rate"),
    ],
)
def test_what_cannot_be(wrong: dict[str, float], flag: str) -> None:
    with pytest.raises(ConfigurationError, match=flag):
        replace(Behaviour(), **wrong)  # type: ignore[arg-type]
