"""Stalls that are too rare for percentiles are counted, with the exact chance of such a difference."""

from __future__ import annotations

from abatch.reports.comparison.rare_stalls import stalls_in_words
from abatch.reports.run.measurement import Measurement
from abatch.reports.summary.causes import Attribution, Cause, Stall
from abatch.reports.summary.summary import Summary


def run(num_stalls: int, *, measured_s: float = 300.0, simulated: bool = False) -> Measurement:
    stalls = [Stall(start_s=60.0 * number, length_s=2.0, streams=9) for number in range(num_stalls)]
    stalls.append(Stall(start_s=5.0, length_s=2.0, streams=9, cause=Cause.CLIENT))
    attribution = Attribution(causes={}, stalls=stalls)
    return Measurement((), Summary(attribution=attribution, measured_s=measured_s, simulated=simulated))


def test_four_against_none_may_be_chance_and_ten_are_not() -> None:
    assert stalls_in_words(run(4), run(0)) == (
        "servers that made no progress: the first 4 times, this one 0 times; that may be chance (p = 0.12)"
    )
    assert stalls_in_words(run(0), run(10)) == (
        "servers that made no progress: the first 0 times, this one 10 times; this one does so more often (p = 0.002)"
    )
    assert "more often" not in str(stalls_in_words(run(10, measured_s=3000.0), run(0)))


def test_where_nothing_stalled_nothing_is_said() -> None:
    assert stalls_in_words(run(0), run(0)) is None, "the client's own are not the server's"
    assert stalls_in_words(run(4, simulated=True), run(0, simulated=True)) is None
