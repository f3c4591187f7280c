"""What enters a histogram, what is only counted, and what a ratio says."""

from __future__ import annotations

from typing import Any

import pytest
from abatch.engine.loop.step_account import EngineTotals
from abatch.engine.session import ParkingTotals
from abatch.reports.recording.recorder import Recorder
from abatch.reports.summary.engine import summarise_engine
from abatch.reports.summary.metric import summarise_metric
from abatch.reports.summary.state import State
from abatch.reports.summary.summary import Summary, fill_summary
from abatch.workloads.result import Result
from abatch.workloads.session import Pause
from support.results import make_result


def summarise(results: list[Result], measured_s: float = 10.0) -> Summary:
    recorder = Recorder((0.0, measured_s))
    for result in results:
        recorder.add(result)
    return fill_summary(Summary(), recorder, measured_s)


def test_percentiles_have_three_digits_at_any_size() -> None:
    summary = summarise([make_result(float(ms)) for ms in range(1, 1001)])
    ttft = summary.metrics["ttft"]["all"]
    assert ttft.count == 1000
    assert ttft.p50_ms == pytest.approx(500, rel=0.001)
    assert ttft.p99_ms == pytest.approx(990, rel=0.001)
    assert ttft.max_ms == pytest.approx(1000, rel=0.001)
    long = summarise([make_result(3_000_000.0)]).metrics["ttft"]["all"]
    assert long.max_ms == pytest.approx(3_000_000, rel=0.001)


def test_a_stall_of_ten_thousand_shows_at_its_size() -> None:
    """HdrHistogram's own scenario, as a client of open-loop traffic sees it: 1 ms each, then one stall of 100 s."""
    gaps = make_result(gaps_ms=(1.0,) * 9_999 + (100_000.0,))
    itl = summarise([gaps]).metrics["itl"]["all"]
    assert itl.p50_ms == pytest.approx(1.0, rel=0.002)
    assert itl.p999_ms == pytest.approx(1.0, rel=0.002)
    assert itl.max_ms == pytest.approx(100_000, rel=0.001)
    assert summarise([gaps]).metrics["max_gap"]["all"].p50_ms == pytest.approx(100_000, rel=0.001)


def test_a_ratio_is_flagged_above_three() -> None:
    def ratio(tail_ms: float) -> tuple[Any, State]:
        results = [make_result(tail_ms if index % 50 == 7 else 10.0, due_s=index / 20) for index in range(1000)]
        metric = summarise(results).metrics["ttft"]["all"]
        return metric.tail_ratio, metric.verdict

    assert ratio(29.0) == (pytest.approx(2.9, rel=0.002), State.OK)
    assert ratio(31.0) == (pytest.approx(3.1, rel=0.002), State.FLAGGED)


def test_too_few_samples_are_no_verdict_however_bad() -> None:
    metric = summarise([make_result(10.0)] * 290 + [make_result(9999.0)] * 9).metrics["ttft"]["all"]
    assert metric.verdict is State.TOO_FEW


def test_classes_are_apart_and_all_is_everything() -> None:
    results = [make_result(10.0)] * 3 + [make_result(20.0, traffic_class="agent")]
    by_class = summarise(results).metrics["ttft"]
    assert {name: metric.count for name, metric in by_class.items()} == {"all": 4, "agent": 1, "chat": 3}


def test_failures_and_warm_up_are_in_no_latency_histogram() -> None:
    summary = summarise(
        [
            make_result(10.0),
            make_result(99_999.0, error="http_500", error_message="boom"),
            make_result(99_999.0, warmup=True),
        ]
    )
    assert summary.metrics["ttft"]["all"].count == 1
    assert summary.metrics["ttft"]["all"].max_ms < 11
    assert summary.errors == {"http_500": 1}
    assert summary.error_examples == {"http_500": "boom"}
    assert (summary.warmup_requests, summary.succeeded, summary.requests) == (1, 1, 2)
    assert summary.offered_rate == pytest.approx(0.2)
    assert summary.achieved_rate == pytest.approx(0.1)


def test_a_turn_that_was_never_sent_is_counted_and_its_waiting_is_a_lower_bound() -> None:
    dropped = make_result(sent_s=None, first_s=None, gaps_ms=(), end_s=4.0, output_tokens=None, censored=True)
    summary = summarise([make_result(10.0), dropped])
    assert (summary.dropped_arrivals, summary.censored, summary.succeeded) == (1, 0, 1)
    assert summary.metrics["ttft"]["all"].max_ms == pytest.approx(4000, rel=0.001)
    assert summary.metrics["start_delay"]["all"].count == 1


def test_throughput_is_what_ended_in_the_measured_time_not_in_the_drain_behind_it() -> None:
    in_time = [make_result(due_s=index / 10) for index in range(40)]
    drained = [make_result(due_s=9.9, end_s=15.0 + index) for index in range(30)]
    warm = [make_result(due_s=0.1, warmup=True)]
    summary = summarise(in_time + drained + warm)
    assert summary.succeeded == 70
    assert summary.achieved_rate == pytest.approx(4.1), "one that was due in the warm-up ended in the measured time"
    assert summary.offered_rate == pytest.approx(7.0)
    assert summary.output_tokens_per_s == pytest.approx(8.2)


def test_censored_requests_enter_as_lower_bounds() -> None:
    waiting = make_result(first_s=None, gaps_ms=(), censored=True, end_s=2.0, output_tokens=None)
    stuck = make_result(10.0, gaps_ms=(5.0,), censored=True, end_s=3.0, output_tokens=None)
    summary = summarise([waiting, stuck])
    assert summary.censored == 2
    assert summary.succeeded == 0
    assert summary.metrics["ttft"]["all"].max_ms == pytest.approx(2000, rel=0.001)
    assert summary.metrics["max_gap"]["all"].max_ms == pytest.approx(2985, rel=0.001)
    assert summary.metrics["e2e"]["all"].max_ms == pytest.approx(3000, rel=0.001)


def test_resume_ttft_is_of_turns_after_a_tool() -> None:
    results = [make_result(1.0), make_result(2.0, pause=Pause.HUMAN), make_result(3.0, pause=Pause.TOOL)]
    resume = summarise(results).metrics["resume_ttft"]["all"]
    assert resume.count == 1
    assert resume.p50_ms == pytest.approx(3.0, rel=0.002)


def test_late_turns_accuse_the_client() -> None:
    late = make_result(due_s=1.0, sent_s=1.02)
    summary = summarise([make_result(), late])
    assert summary.late_arrivals == 1
    assert summary.metrics["start_delay"]["all"].max_ms == pytest.approx(20, rel=0.01)


def test_tokens_per_chunk_and_tpot() -> None:
    summary = summarise([make_result(gaps_ms=(10.0, 10.0), output_tokens=9)])
    assert summary.tokens_per_chunk == 3.0
    assert summary.metrics["tpot"]["all"].p50_ms == pytest.approx(2.5, rel=0.002)
    unknown = make_result(gaps_ms=(10.0,) * 50, output_tokens=None)
    assert summarise([make_result(gaps_ms=(10.0,), output_tokens=2), unknown]).tokens_per_chunk == 1.0


def test_the_mean_is_the_librarys() -> None:
    from abatch.reports.recording.histograms import new_histogram

    histogram = new_histogram()
    for value in (3, 999, 1_234_567, 1_234_567, 99_000_000):
        histogram.record_value(value)
    assert summarise_metric(histogram).mean_ms == pytest.approx(histogram.get_mean_value() / 1e3, rel=1e-3)


def test_an_empty_histogram_has_no_verdict() -> None:
    from abatch.reports.recording.histograms import new_histogram

    metric = summarise_metric(new_histogram())
    assert (metric.count, metric.tail_ratio, metric.verdict) == (0, 0.0, State.TOO_FEW)


def test_what_waits_to_be_recorded_is_bounded() -> None:
    recorder = Recorder()
    for index in range(12_000):
        recorder.add(make_result(10.0 + index / 1000, gaps_ms=()))
    assert max(len(pending) for pending in recorder._histograms._pending.values()) < 5000
    (count,) = [
        histogram.get_total_count()
        for metric, name, histogram in recorder.histograms()
        if metric == "ttft" and name == "all"
    ]
    assert count == 12_000


def turn(index: int, *, due_s: float, ttft_ms: float, session: str = "s", **fields: Any) -> Result:
    return make_result(ttft_ms, due_s=due_s, session_id=session, turn_index=index, **fields)


def test_ttft_after_a_tool_pause_is_told_apart_by_its_length() -> None:
    pauses = [0.0, 0.999, 1.0, 9.999, 10.0, 60.0]
    tools = [turn(1, due_s=1.0, ttft_ms=10, pause=Pause.TOOL, pause_s=pause_s) for pause_s in pauses]
    others = [turn(0, due_s=0.0, ttft_ms=10), turn(1, due_s=1.0, ttft_ms=10, pause=Pause.HUMAN, pause_s=5.0)]
    metrics = summarise([*tools, *others]).metrics
    counts = {name: by_class["all"].count for name, by_class in metrics.items() if "ttft" in name}
    assert counts == {
        "ttft": 8,
        "fresh_ttft": 1,
        "continued_ttft": 1,
        "resume_ttft": 6,
        "resume_ttft_under_1s": 2,
        "resume_ttft_1_to_10s": 2,
        "resume_ttft_over_10s": 2,
    }


def test_a_whole_session_is_timed_at_its_last_turn() -> None:
    turns = [
        turn(0, due_s=0.0, ttft_ms=30),
        turn(1, due_s=2.0, ttft_ms=90, pause=Pause.TOOL, pause_s=1.965),
        turn(2, due_s=5.0, ttft_ms=20, is_last=True),
    ]
    broken_off = [
        turn(0, due_s=0.0, ttft_ms=5, session="b"),
        turn(1, due_s=1.0, ttft_ms=5, session="b", error="http_503"),
        turn(2, due_s=2.0, ttft_ms=5, session="b", is_last=True),
    ]
    warm = [
        turn(0, due_s=0.0, ttft_ms=5, session="w", warmup=True),
        turn(1, due_s=1.0, ttft_ms=5, session="w", is_last=True),
    ]
    metrics = summarise([*turns, *broken_off, *warm]).metrics
    expected_ms = {"session": 5025, "session_model": 30 + 90 + 20 + 3 * 5, "worst_ttft": 90, "final_ttft": 20}
    for name, value_ms in expected_ms.items():
        assert metrics[name]["all"].count == 1, name
        assert metrics[name]["all"].max_ms == pytest.approx(value_ms, rel=1e-3), name


def test_sessions_that_ended_are_not_remembered() -> None:
    recorder = Recorder()
    for number in range(3):
        recorder.add(turn(0, due_s=0.0, ttft_ms=5, session=str(number)))
        recorder.add(turn(1, due_s=1.0, ttft_ms=5, session=str(number), is_last=number == 0, censored=number == 1))
    assert list(recorder._sessions) == ["2"]


def test_what_became_of_parked_sessions_is_part_of_the_summary() -> None:
    parking = ParkingTotals(num_parked=5, num_kept=2, num_restored=2, restore_wait_s=0.03, parked_block_s=1.23456)
    engine = summarise_engine(EngineTotals(num_steps=10, device_busy_s=1.0, parking=parking))
    assert engine is not None
    assert engine.parking is not None
    assert (engine.parking.parked, engine.parking.kept, engine.parking.restored) == (5, 2, 2)
    assert engine.parking.restore_wait_ms == pytest.approx(15.0)
    assert engine.parking.parked_block_s == 1.235
    nothing = summarise_engine(EngineTotals(num_steps=10, device_busy_s=1.0))
    assert nothing is not None
    assert nothing.parking is None


def test_an_engine_whose_totals_shrink_has_no_account() -> None:
    """It was started anew meanwhile, or makes them up: negative times per step would follow."""
    assert summarise_engine(EngineTotals(num_steps=10, device_busy_s=1.0, host_s=-1.0)) is None
    assert summarise_engine(EngineTotals(num_steps=10, device_busy_s=1.0, num_preemptions=-1)) is None
    parking = ParkingTotals(num_parked=5, restored_bytes=-1)
    assert summarise_engine(EngineTotals(num_steps=10, device_busy_s=1.0, parking=parking)) is None
