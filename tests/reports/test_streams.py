"""Whether what was late in an answer was made good, whether chunks came singly or were read together."""

from __future__ import annotations

import pytest
from abatch.reports.attribution.stalls import LongGap, find_stalls
from abatch.reports.attribution.streams import Stream
from abatch.reports.summary.causes import Cause
from support.results import make_result

_USUAL_MS = 10.0


def _stream(gaps_ms: list[float], output_tokens: int, tokens_per_chunk: float = 1.01) -> Stream:
    return Stream.of(make_result(20.0, gaps_ms=tuple(gaps_ms), output_tokens=output_tokens), tokens_per_chunk)


def _makes_good(gaps_ms: list[float], output_tokens: int, tokens_per_chunk: float = 1.01) -> bool:
    """Of the longest gap."""
    stream, index = _stream(gaps_ms, output_tokens, tokens_per_chunk), gaps_ms.index(max(gaps_ms))
    return stream.makes_good(index + 1, gaps_ms[index] / 1e3, stream.typical_s)


def test_a_server_that_stands_still_makes_nothing_good() -> None:
    assert not _makes_good([_USUAL_MS] * 10 + [300.0] + [_USUAL_MS] * 29, 41)


def test_chunks_that_come_at_once_behind_a_late_one_make_it_good() -> None:
    assert _makes_good([_USUAL_MS] * 10 + [300.0] + [0.1] * 28 + [_USUAL_MS] * 10, 50)


def test_so_do_chunks_that_were_read_together_with_it() -> None:
    """Forty tokens in fourteen chunks: the others were in the read that came late."""
    assert _makes_good([_USUAL_MS] * 10 + [300.0] + [_USUAL_MS] * 2, 40)


def test_an_answer_that_ends_with_the_late_read_is_made_good_as_far_as_it_goes() -> None:
    """It would have taken 100 ms more, and was held up for 300."""
    assert _makes_good([_USUAL_MS] * 20 + [300.0], 32)


def test_where_chunks_have_several_tokens_nobody_can_say() -> None:
    assert not _makes_good([_USUAL_MS] * 10 + [300.0] + [_USUAL_MS] * 2, 40, tokens_per_chunk=2.5)


@pytest.mark.parametrize(("num_good", "cause"), [(4, Cause.NETWORK), (1, Cause.STALL)])
def test_streams_that_were_held_up_together_did_not_stall(num_good: int, cause: Cause) -> None:
    gaps = [LongGap(5.0, 6.0, was_made_good=number < num_good) for number in range(5)]
    (stall,) = find_stalls(gaps)
    assert stall.cause is cause


def test_bursts_are_bursts_though_one_of_them_was_late() -> None:
    """Six tokens at a time; before one of them the server stood still, and what followed it made nothing good."""
    gaps_ms = ([60.0] + [0.2] * 5) * 8
    gaps_ms[18] = 1200.0
    stream = _stream(gaps_ms, len(gaps_ms) + 1)
    assert stream.is_in_bursts
    assert stream.typical_s == pytest.approx(0.01, rel=0.05)
    assert not stream.makes_good(19, 1.2, stream.typical_s)
