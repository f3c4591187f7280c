"""Do two servers give the same answers? What is counted, and what is said."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from abatch.reports.comparison.answer_agreement import AnswerAgreement, agreement
from abatch.reports.comparison.comparison import compare
from support.measured import measurement, noisy

_SAME = [("a b c", "a b c")] * 8


def test_the_same_answers_are_the_same() -> None:
    found = agreement(_SAME, _SAME)
    assert (found.prompts, found.equal, found.stable, found.stable_differ) == (8, 8, 8, 0)
    assert found.median_difference is None
    assert found.in_words("new", "old") == ("answers all 8 greedy prompts exactly as old does")


def test_other_answers_are_told_with_where_they_begin_to_differ() -> None:
    found = agreement(_SAME, [*_SAME[:5], ("a b d", "a b d"), ("a c", "a c"), ("x", "x")])
    assert (found.equal, found.stable_differ) == (5, 3)
    assert (found.median_difference, found.earliest_difference) == (2, 0)
    assert found.in_words("new", "old") == (
        "answers 3 of 8 greedy prompts differently from old (the median first difference is after 2 characters)"
    )


def test_a_server_that_does_not_repeat_itself_is_no_other_server() -> None:
    """In another batch sums round otherwise: what one side answers in two ways tells nothing of the other."""
    found = agreement(_SAME, [*_SAME[:6], ("a b x", "a b c"), ("a b c", "a b y")])
    assert (found.equal, found.first_repeats, found.other_repeats) == (7, 8, 6)
    assert (found.stable, found.stable_differ) == (6, 0)
    assert found.in_words("new", "old") == (
        "answers 7 of 8 greedy prompts exactly as old does (asked twice, old repeats itself on 8, new on 6)"
    )


def test_what_failed_is_left_out() -> None:
    found = agreement(_SAME, [*_SAME[:2], *[("a b c", None)] * 6])
    assert (found.prompts, found.equal) == (2, 2)
    nothing = agreement(_SAME, [(None, None)] * 8)
    assert nothing.in_words("new", "old") == (
        "answers no greedy prompt that old answers too: whether they agree is unknown"
    )


@pytest.mark.parametrize("is_other", [True, False])
def test_a_faster_server_that_answers_something_else_is_said_to(tmp_path: Path, *, is_other: bool) -> None:
    runs = {
        "old": measurement(tmp_path / "old", noisy(1)),
        "new": measurement(tmp_path / "new", noisy(2, factor=0.5)),
    }
    found = agreement(_SAME, [("z", "z")] * 8 if is_other else _SAME)
    comparison = compare(runs, agreements={"new": found})
    (target,) = comparison.targets
    assert target.verdict.startswith("new is better than old: ")
    assert ("But new answers 8 of 8 greedy prompts differently" in target.verdict) is is_other
    assert ("answers all 8 greedy prompts exactly as old does" in target.notes) is not is_other
    saved = msgspec.json.decode(msgspec.json.encode(target.answers), type=AnswerAgreement)
    assert saved == found
