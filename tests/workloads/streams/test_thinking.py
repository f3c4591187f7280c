"""When the answer of a model that thinks aloud begins."""

from __future__ import annotations

import pytest
from support.answers import DONE, END, STEP_S, answered, delta, text

THINK = delta('"reasoning_content":"hm"')


@pytest.mark.parametrize(
    ("reads", "answer_after", "thought", "written"),
    [
        ([text("a"), text("b")], 0, "", "ab"),
        ([text(" "), text("a")], 0, "", " a"),
        ([THINK, THINK, text("a")], 2, "hmhm", "a"),
        ([THINK, text(r"\n\n"), text("a")], 2, "hm", "\n\na"),
        ([THINK, THINK], None, "hmhm", ""),
        ([THINK, delta('"tool_calls":[{}]')], 1, "hm", ""),
        ([text("<think>"), text("hm"), text("</think>"), text(r"\n\n"), text("a")], 4, "hm</think>", "\n\na"),
        ([text(r"\n<think>hm</think>a")], 0, "hm</think>", "a"),
        ([text(char) for char in "<think>hm</think>ab"], 17, "hm</think>", "ab"),
        ([text(char) for char in "[THINK]hm[/THINK]ab"], 17, "hm[/THINK]", "ab"),
        ([text("<thought>hm"), text("</thought>a")], 1, "hm</thought>", "a"),
        ([text("<think>"), text("hm"), text("</th"), text("e")], None, "hm</the", ""),
        ([text("hm"), text(" so"), text("</think>"), text("a")], 3, "hm so</think>", "a"),
        ([text("hm"), text(r"</think>\n\n"), text("a")], 2, "hm</think>", "\n\na"),
        ([text("hm"), text("</"), text("think"), text("> a")], 3, "hm</think>", " a"),
        ([text("<think>hm</think>a"), text("</think>b")], 0, "hm</think>", "a</think>b"),
        ([THINK, text("<think>"), text("a")], 1, "hm", "<think>a"),
        ([text("a"), text("<think>"), text("b")], 0, "", "a<think>b"),
        ([text("<thi"), text("s> a")], 0, "", "<this> a"),
        ([text("<thi")], 0, "", "<thi"),
        ([text(" < b > c ]")], 0, "", " < b > c ]"),
    ],
)
def test_thoughts_and_answer(reads: list[str], answer_after: int | None, thought: str, written: str) -> None:
    reply = answered(*reads, END, DONE)
    assert reply.error is None
    assert ("".join(reply.reasoning), "".join(reply.text)) == (thought, written)
    assert reply.first_s == 1.0
    expected = None if answer_after is None else 1.0 + answer_after * STEP_S
    assert reply.first_answer_s == (None if expected is None else pytest.approx(expected))
    assert len(reply.gaps_us) == len(reads) - 1, "thoughts are timed like any other content"


def test_what_came_of_an_answer_that_breaks_off_is_kept() -> None:
    reply = answered(text("<thi"))
    assert (reply.error, reply.text, reply.first_answer_s) == ("disconnected", ["<thi"], 1.0)
