"""What a tool pause costs: scenes of which the truth is known."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import msgspec
import pytest
from abatch.reports.recording.pause_cost import PauseCosts, pause_costs
from abatch.reports.recording.pauses import Context, Pauses
from abatch.reports.recording.recorder import Recorder
from abatch.reports.renderings.pause_words import is_real, pauses_in_words
from abatch.reports.summary.summary import Summary, fill_summary
from abatch.workloads.result import Result
from abatch.workloads.session import Pause
from support.results import make_result

PROMPT = 2000
NEW = 200


@dataclass(frozen=True, slots=True)
class Later:
    """A later turn, as a scene sees it."""

    due_s: float
    is_paused: bool
    new_tokens: int


def scene(
    ttft_ms: Callable[[Later], float],
    *,
    turns: int = 1600,
    length_s: float = 120.0,
    first_pause_s: float = 0.0,
    new_tokens: Callable[[bool], int] = lambda _: NEW,
    cached: Callable[[bool, int], int | None] = lambda _, before: before,
    pause_s: float = 5.0,
) -> list[Result]:
    """Sessions of two turns, every other one with a tool pause in between; those from `first_pause_s` on."""
    random, results = Random(1), []
    for number in range(turns):
        due_s = length_s * number / turns
        is_paused = number % 2 == 1 and due_s >= first_pause_s
        later = Later(due_s, is_paused, new_tokens(is_paused))
        took_ms = ttft_ms(later) * random.uniform(0.8, 1.25)
        results.append(make_result(due_s=max(0.0, due_s - 6), session_id=f"s-{number}", prompt_tokens=PROMPT))
        results.append(later_turn(f"s-{number}", later, took_ms, cached(is_paused, PROMPT), pause_s))
    return results


def later_turn(session_id: str, later: Later, ttft_ms: float, cached: int | None, pause_s: float) -> Result:
    return make_result(
        ttft_ms,
        due_s=later.due_s,
        session_id=session_id,
        turn_index=1,
        is_last=True,
        pause=Pause.TOOL if later.is_paused else Pause.NONE,
        pause_s=pause_s if later.is_paused else 0.0,
        prompt_tokens=PROMPT + later.new_tokens,
        cached_tokens=cached,
    )


def costs_of(results: list[Result]) -> PauseCosts:
    pauses = Pauses()
    for result in results:
        pauses.add(result)
    found = pause_costs(pauses)
    assert found is not None
    return found


def test_a_pause_that_costs_is_told_by_how_much() -> None:
    costs = costs_of(scene(lambda later: 100.0 if later.is_paused else 60.0))
    at_once, paused = costs.bands
    assert (at_once.from_s, paused.from_s, paused.to_s, paused.turns, costs.beside) == (0, 3, 10, 800, 0)
    assert paused.p50 is not None
    assert paused.p99 is not None
    assert paused.p50.interval_ms.low < 40 < paused.p50.interval_ms.high
    assert paused.p50.cost_ms == pytest.approx(40, abs=5)
    assert paused.p99.cost_ms == pytest.approx(50, abs=5)
    words = pauses_in_words(costs)
    assert words.startswith(f"a 5 s pause costs {paused.p50.cost_ms:.3g} ms (95% CI +")
    assert "contexts: 100% kept (after no pause: 100% kept)" in words


@pytest.mark.parametrize(
    ("turns", "told_from_s"),
    [((200, 60), 10), ((800, 60), 1), ((800, 20), 1), ((20, 10), 1)],
    ids=["longest", "p99 known of the shorter", "cost known of the shorter", "none known: most turns"],
)
def test_the_sentence_is_about_the_longest_pauses_of_which_most_is_known(
    turns: tuple[int, int], told_from_s: float
) -> None:
    results = scene(lambda _: 60.0, turns=1000, first_pause_s=1e6)
    for pause_s, count in zip((2.0, 20.0), turns, strict=True):
        for number in range(count):
            later = Later(120.0 * number / count, True, NEW)
            results.append(later_turn(f"{pause_s}/{number}", later, 60.0, PROMPT, pause_s))
    assert costs_of(results).told.from_s == told_from_s


@pytest.mark.parametrize(
    "results",
    [
        scene(lambda later: 60.0),
        # A queue that grows through the run, in which the first pauses end late: all later turns wait in it.
        scene(lambda later: 60 + 20 * later.due_s, first_pause_s=60.0),
        # A server that freezes: whoever comes meanwhile waits.
        scene(lambda later: 3000.0 if later.due_s % 60 >= 50 else 60.0),
        # Slow tools return more: that is work, however fast they are.
        scene(
            lambda later: 0.3 * later.new_tokens,
            new_tokens=lambda is_paused: Random(is_paused).choice((100, 400)) + 300 * is_paused,
        ),
        # A server without a cache: each turn computes all of its prompt.
        scene(lambda later: 700.0, cached=lambda *_: 0),
    ],
    ids=["kept", "overload", "freeze", "long results", "no cache"],
)
def test_what_is_not_the_pauses_doing_is_not_blamed_on_it(results: list[Result]) -> None:
    costs = costs_of(results)
    band = costs.told
    assert band.p50 is not None
    assert not is_real(band.p50)
    assert band.p99 is None or not is_real(band.p99)


@pytest.mark.parametrize(
    ("fields", "context"),
    [
        ({"cached_tokens": 2000}, Context.KEPT),
        ({"cached_tokens": 1872}, Context.KEPT),
        ({"cached_tokens": 1200}, Context.PARTLY),
        ({"cached_tokens": 500}, Context.RECOMPUTED),  # of the 500 that all sessions share
        ({"cached_tokens": 0}, Context.RECOMPUTED),
        ({"cached_tokens": None}, Context.UNKNOWN),
        ({"cached_tokens": 500, "prompt_tokens": 900}, Context.UNKNOWN),  # the history was cut
        ({"cached_tokens": 500, "prompt_tokens": None}, Context.UNKNOWN),
    ],
)
def test_what_the_server_had_is_of_the_sessions_own_context(fields: dict[str, Any], context: Context) -> None:
    pauses = Pauses()
    pauses.add(make_result(session_id="a", prompt_tokens=2000, shared_tokens=500))
    later: dict[str, Any] = {"turn_index": 1, "pause": Pause.TOOL, "pause_s": 5.0, "prompt_tokens": 2200}
    pauses.add(make_result(session_id="a", **(later | fields)))
    assert pauses.contexts(3) == {context: 1}


def test_a_server_that_says_nothing_where_it_had_nothing_is_understood() -> None:
    silent = scene(lambda _: 60.0, turns=100, cached=lambda is_paused, before: None if is_paused else before)
    assert costs_of(silent).bands[1].contexts == {"recomputed": 50}


@pytest.mark.parametrize(
    ("results", "words"),
    [
        (scene(lambda _: 60.0, turns=40), "too few turns to tell"),
        ([one for one in scene(lambda _: 60.0) if one.turn_index == 0 or one.pause is Pause.TOOL], "no turns after"),
        (scene(lambda _: 60.0, cached=lambda *_: None), "the server does not say"),
    ],
    ids=["few", "none at once", "no usage"],
)
def test_what_cannot_be_told_is_said(results: list[Result], words: str) -> None:
    shown = pauses_in_words(costs_of(results))
    assert words in shown
    assert "costs" not in shown or words == "the server does not say"


def test_tools_that_take_no_time_are_no_pauses() -> None:
    pauses = Pauses()
    for result in scene(lambda _: 60.0, turns=40, pause_s=0.05):
        pauses.add(result)
    assert pause_costs(pauses) is None


def test_turns_that_never_came_make_it_a_lower_bound() -> None:
    results = scene(lambda later: 60.0, turns=100)
    for result in results:
        if result.pause is Pause.TOOL:
            result.censored, result.first_s = True, None
    results = [one for one in results if one.turn_index == 0 or one.pause is Pause.TOOL]
    assert "takes at least " in pauses_in_words(costs_of(results))


def test_it_is_saved_and_the_same_from_several_workers() -> None:
    results = scene(lambda later: 100.0 if later.is_paused else 60.0, turns=400)
    whole, parts = Recorder(), (Recorder(), Recorder())
    for result in results:
        whole.add(result)
        parts[int(result.session_id[2:]) // 2 % 2].add(result)
    merged = Recorder()
    for part in parts:
        merged.merge(pickle.loads(pickle.dumps(part)))
    expected, found = (fill_summary(Summary(), recorder, 120.0).pauses for recorder in (whole, merged))
    assert found is not None
    assert found == expected
    assert msgspec.json.decode(msgspec.json.encode(found), type=PauseCosts) == found


def test_memory_does_not_grow_with_the_run() -> None:
    pauses = Pauses()
    for result in scene(lambda _: 60.0, turns=20_000):
        pauses.add(result)
    assert pauses.num_turns(3) == 10_000
    assert len(pauses.turns(3)) == 3000
    assert not pauses._tracker._prompts
