"""Requests in flight over time, and the part of a run in which their number is steady."""

from __future__ import annotations

from itertools import pairwise

import pytest
from abatch.reports.recording.in_flight import InFlight, SteadyState
from abatch.reports.run.config import RunConfig
from abatch.reports.run.recorded_part import recorded_part, summarise
from abatch.workloads.result import Result
from hypothesis import given
from hypothesis import strategies as st
from support.results import make_result


def _over(spans: list[tuple[float, float]]) -> InFlight:
    in_flight = InFlight()
    for start_s, length_s in spans:
        in_flight.add(make_result(due_s=start_s, end_s=start_s + length_s))
    return in_flight


def _steady(in_flight: InFlight, sending_s: float) -> SteadyState:
    found = in_flight.steady_state(sending_s)
    assert found is not None
    return found


_SPANS = st.lists(st.tuples(st.floats(0, 1000), st.floats(0, 500)), max_size=30)


@given(_SPANS, _SPANS)
def test_time_in_flight_is_kept_whatever_the_order_and_of_whom(
    ours: list[tuple[float, float]], theirs: list[tuple[float, float]]
) -> None:
    together, merged, other = _over([*theirs, *ours]), _over(ours), _over(theirs)
    merged.merge(other)
    for found in (together, merged):
        busy_s = sum(found._bins)
        assert busy_s == pytest.approx(sum(length for _, length in [*ours, *theirs]), abs=1e-6)
        assert len(found._bins) <= 256
    assert merged._bins == pytest.approx(together._bins[: len(merged._bins)], abs=1e-6)


def test_the_start_up_is_left_out() -> None:
    """A request a second, each of 20 s: twenty in flight from then on."""
    steady = _steady(_over([(float(at_s), 20.0) for at_s in range(100)]), 100.0)
    assert 16.0 <= steady.from_s <= 20.0
    assert steady.to_s == pytest.approx(100.0, abs=0.5)
    assert steady.first_half == pytest.approx(19.0, abs=1.0)
    assert steady.second_half == pytest.approx(20.0, abs=0.1)
    assert steady.is_steady


def test_a_server_that_does_not_keep_up_has_no_steady_state() -> None:
    """Two requests a second to one that does one: each waits a second longer than the one before it."""
    assert not _steady(_over([(at / 2, at / 2 + 1.0) for at in range(200)]), 100.0).is_steady


@pytest.mark.parametrize(
    "waves",
    [[2.0, 2.0, 4.0, 4.0], [20.0, 24.0, 26.0, 28.0], [30.0, 10.0, 40.0, 50.0]],
    ids=["few", "little growth", "up and down"],
)
def test_growth_by_luck_is_none(waves: list[float]) -> None:
    spans = [(25.0 * part + index * 0.001, 25.0) for part, count in enumerate(waves) for index in range(int(count))]
    assert _steady(_over(spans), 100.0).is_steady


def test_a_run_too_short_has_none() -> None:
    assert _over([(0.0, 0.3)]).steady_state(0.3) is None


def test_only_the_steady_part_counts_where_that_is_asked_for() -> None:
    results = [
        make_result(1000.0 if at_s < 10 else 10.0, due_s=float(at_s), end_s=at_s + 20.0, session_id=str(at_s))
        for at_s in range(100)
    ]
    config = RunConfig(steady_state=True, duration_s=100.0)
    recorder = config.new_recorder()
    for result in results:
        recorder.add(result)
    part = recorded_part(config, recorder, 100.0, lambda: results)
    summary = summarise(config, part)
    assert summary.steady_state is not None
    assert part.measured_s == summary.measured_s == pytest.approx(82.0, abs=2.5)
    assert summary.requests == sum(1 for result in results if result.due_s >= summary.steady_state.from_s)
    assert summary.metrics["ttft"]["all"].max_ms == pytest.approx(10.0, rel=0.01)
    everything = RunConfig(duration_s=100.0)
    whole = summarise(everything, recorded_part(everything, recorder, 100.0, lambda: results))
    assert whole.requests == 100
    assert whole.metrics["ttft"]["all"].max_ms == pytest.approx(1000.0, rel=0.01)


def test_growth_is_said_in_every_run() -> None:
    results: list[Result] = [make_result(due_s=at / 2, end_s=at + 1.0, session_id=str(at)) for at in range(200)]
    assert all(one.due_s <= other.due_s for one, other in pairwise(results))
    recorder = RunConfig().new_recorder()
    for result in results:
        recorder.add(result)
    summary = summarise(RunConfig(), recorded_part(RunConfig(), recorder, 100.0, lambda: results))
    assert any("requests in flight grew from" in warning for warning in summary.warnings)


def test_a_server_that_finished_less_is_not_said_to_have_kept_up() -> None:
    """It died towards the end: what was in flight then is cut off."""
    answered = [make_result(due_s=at / 2, end_s=at / 2 + 1 + at / 50, session_id=str(at)) for at in range(170)]
    dead = [
        make_result(due_s=at / 2, end_s=100.0, session_id=str(at), censored=True, first_s=None, gaps_us=[])
        for at in range(170, 200)
    ]
    recorder = RunConfig(duration_s=100.0).new_recorder()
    for result in (*answered, *dead):
        recorder.add(result)
    config = RunConfig(duration_s=100.0)
    summary = summarise(config, recorded_part(config, recorder, 100.0, lambda: [*answered, *dead]))
    (note,) = (warning for warning in summary.warnings if "requests in flight grew from" in warning)
    assert "1.7 of 2 requests/s were finished" in note
    assert "kept up" not in note
