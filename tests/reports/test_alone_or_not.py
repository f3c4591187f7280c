"""What is said of slow answers and of pauses, by whom else they hit."""

from __future__ import annotations

from random import Random

from abatch.reports.attribution.attribution import attribute
from abatch.reports.summary.causes import Cause
from abatch.workloads.result import Result
from support.injections import summarised
from support.results import make_result

_USUAL_MS = 10.0


def _likely(results: list[Result]) -> list[Cause]:
    return attribute(lambda: results, summarised(results)).causes["itl"].likely


def _answers(pace_ms: list[float], prompt_tokens: list[int]) -> list[Result]:
    """One every 50 ms, each of 40 gaps at a pace of its own."""
    random, found = Random("answers"), []
    for number, (pace, tokens) in enumerate(zip(pace_ms, prompt_tokens, strict=True)):
        gaps_ms = tuple(pace * random.lognormvariate(0, 0.05) for _ in range(40))
        found.append(
            make_result(20.0, gaps_ms=gaps_ms, due_s=number * 0.05, session_id=f"s-{number}", prompt_tokens=tokens)
        )
    return found


def test_answers_that_are_slow_without_a_reason_are_on_a_slow_replica() -> None:
    pace_ms = [5 * _USUAL_MS if number % 10 == 0 else _USUAL_MS for number in range(300)]
    tokens = [Random(number).randrange(100, 20_000) for number in range(300)]
    assert _likely(_answers(pace_ms, tokens)) == [Cause.SLOW_REPLICA]


def test_answers_that_are_slow_for_their_long_contexts_are_not() -> None:
    tokens = [round(Random(number).lognormvariate(7.3, 1.2)) for number in range(300)]
    pace_ms = [_USUAL_MS + 0.006 * count for count in tokens]
    assert _likely(_answers(pace_ms, tokens)) == [Cause.SIZE]


def _with_pauses(together: int) -> list[Result]:
    """Fifty groups of twelve answers; in each group so many pause at the same moment for 200 ms."""
    random, found = Random("pauses"), []
    for number in range(600):
        gaps_ms = [_USUAL_MS] * 40
        if number % 12 < together:
            gaps_ms[20] += 200.0
        shift_s = 0.0 if number % 12 < together else random.uniform(0.0, 0.01)
        due_s = number // 12 * 0.7 + shift_s
        found.append(make_result(20.0, gaps_ms=tuple(gaps_ms), due_s=due_s, session_id=f"s-{number}"))
    return found


def test_one_answer_that_pauses_is_alone() -> None:
    assert _likely(_with_pauses(1)) == [Cause.SINGLE]


def test_two_that_stop_and_go_on_together_are_not() -> None:
    """They may be on a machine of their own: nobody can tell, and nothing is said."""
    assert _likely(_with_pauses(2)) == []
