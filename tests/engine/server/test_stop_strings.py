"""Stop strings in a text that streams."""

from __future__ import annotations

import pytest
from abatch.engine.server.stop_strings import StopAutomaton, StopStrings
from hypothesis import given
from hypothesis import strategies as st


@given(
    st.lists(st.text("ab.", max_size=5), max_size=12),
    st.lists(st.text("ab.", min_size=1, max_size=4), min_size=1, max_size=3),
)
def test_stop_strings_cut_where_a_search_of_the_whole_text_would(parts: list[str], stops: list[str]) -> None:
    checker = StopStrings(StopAutomaton(stops))
    sent = ""
    seen = ""
    for part in parts:
        seen += part
        sent += checker.add(part)
        found = min((position for stop in stops if (position := seen.find(stop)) >= 0), default=None)
        assert checker.found is (found is not None)
        if found is not None:
            assert sent == seen[:found]
            assert checker.match in stops
            assert seen.startswith(checker.match, found)
            return
    assert sent + checker.flush() == seen


@pytest.mark.parametrize(("text", "sent"), [("abc", "abc"), ("ab<en", "ab"), ("ab<end>", "ab"), ("ab<x", "ab<x")])
def test_only_what_may_become_a_stop_string_is_held_back(text: str, sent: str) -> None:
    assert StopStrings(StopAutomaton(["<end>"])).add(text) == sent


@given(st.lists(st.text("ab", min_size=1, max_size=6), min_size=1, max_size=4), st.text("abc", max_size=30))
def test_no_more_is_held_back_than_may_become_a_stop_string(stops: list[str], text: str) -> None:
    sent = StopStrings(StopAutomaton(stops)).add(text)
    if not any(stop in text for stop in stops):
        held = [length for stop in stops for length in range(len(stop)) if text.endswith(stop[:length])]
        assert len(text) - len(sent) == max(held)


def test_overlapping_borders_take_a_number_of_steps_that_grows_with_the_text_alone() -> None:
    """Sixteen stop strings of a thousand characters that a long text is always about to complete."""

    class Counted(dict[str, int]):
        num_lookups = 0

        def get(self, key: str, default: int | None = None) -> int | None:  # type: ignore[override]
            Counted.num_lookups += 1
            return super().get(key, default)

    automaton = StopAutomaton(["a" * 1000 + chr(ord("b") + number) for number in range(16)])
    automaton._next = [Counted(following) for following in automaton._next]
    checker = StopStrings(automaton)
    for _ in range(500):
        checker.add("a" * 7)
        checker.add("z")
        checker.add("a" * 1002)
    assert not checker.found
    assert Counted.num_lookups <= 2 * 500 * 1010
