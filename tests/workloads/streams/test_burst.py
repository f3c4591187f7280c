"""Which answers were streamed, and which were written whole and sent at once."""

from __future__ import annotations

import pytest
from support.answers import DONE, END, answered, event, text


def _usage(tokens: int) -> str:
    return event(f'{{"choices":[],"usage":{{"completion_tokens":{tokens}}}}}')


@pytest.mark.parametrize(
    "reads",
    [
        [text("a") * 3 + END + _usage(3) + DONE],
        [text("a") * 3, END + DONE],
        [text("a") * 200 + END + DONE],
        [text("word " * 16), END + _usage(16)],
        [text("word " * 16), END],  # without token counts, 80 characters
    ],
)
def test_one_read_of_several_tokens_was_not_streamed(reads: list[str]) -> None:
    reply = answered(*reads)
    assert (reply.error, reply.was_streamed) == (None, False)
    assert reply.gaps_us == []


@pytest.mark.parametrize(
    "reads",
    [
        [text("a") + END + _usage(1) + DONE],
        [text("a") * 2 + END + _usage(2) + DONE],
        [text("word word word "), END + _usage(8) + DONE],  # what speculative decoding finds at once
        [text("a"), text("b") * 99, END + DONE],  # held back, but not from the start
        [text("a") * 3, text("a"), END + DONE],
        [END + _usage(1)],
    ],
)
def test_short_answers_and_bursts_within_one_are_streamed(reads: list[str]) -> None:
    assert answered(*reads).was_streamed


@pytest.mark.parametrize("tokens_per_s", [500, 3000, 8000])
def test_fast_servers_stream(tokens_per_s: int) -> None:
    reads = [text("a")] * 300
    assert answered(*reads, END, DONE, max_tokens=300, step_s=1 / tokens_per_s).was_streamed


def test_a_burst_may_need_several_reads() -> None:
    """64 KiB each, as they come from one write of 400 tokens."""
    assert not answered(*[text("a") * 100] * 4, END, DONE, max_tokens=400, step_s=0.0005).was_streamed
    assert answered(*[text("a") * 100] * 4, END, DONE, max_tokens=400, step_s=0.1).was_streamed
    assert answered(*[text("a")] * 400, END, DONE, max_tokens=400, step_s=0.00001).was_streamed


def test_what_failed_before_its_end_is_judged_by_what_came() -> None:
    assert answered(text("a")).was_streamed
    assert not answered(text("a") * 9).was_streamed
