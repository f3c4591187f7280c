"""What the client adds is the difference of two accounts of the same request; and each criterion of trust by itself."""

from __future__ import annotations

from typing import Any

import pytest
from abatch.engine.null_server.truth import Truth
from abatch.reports.calibration.calibration import Added, Point, failed_criteria, join
from abatch.reports.calibration.calibration import make_point as measured_point
from abatch.reports.recording.recorder import Recorder
from abatch.reports.summary.client import ClientSummary
from abatch.reports.summary.summary import Summary, fill_summary
from abatch.workloads.result import Result
from support.calibrations import make_point
from support.results import make_result

_CLIENT = ClientSummary(
    lag_p50_ms=0.1,
    lag_p99_ms=0.2,
    lag_p999_ms=0.3,
    lag_max_ms=0.4,
    gc_pauses=0,
    gc_share=0.0,
    gc_longest_ms=0.0,
    cpu_share=0.3,
    workers=2,
)


def _truth(request_id: str = "a-0", *, gaps_us: tuple[int, ...] = (10_000, 10_000), **fields: Any) -> Truth:
    """What a server did that arrived at 100 s of its clock and had the first chunk after 50 ms."""
    times = {"arrived_s": 100.0, "first_s": 100.05, "end_s": 100.05 + sum(gaps_us) / 1e6}
    return Truth(request_id, gaps_us=list(gaps_us), **(times | fields))


def _result(request_id: str | None = "a-0", ttft_ms: float = 52.0, **fields: Any) -> Result:
    values: dict[str, Any] = {"sent_s": 0.001, "gaps_ms": (10.0, 10.0), "request_id": request_id}
    return make_result(ttft_ms, **(values | fields))


def _point(results: list[Result], truths: list[Truth] | None, client: ClientSummary | None = None) -> Point:
    recorder = Recorder()
    for result in results:
        recorder.add(result)
    summary = fill_summary(Summary(client=client), recorder, 10.0)
    return measured_point(20.0, summary, results, truths)


def test_joined_is_what_ended_well_on_both_sides_in_the_measured_part() -> None:
    results = [
        _result("both"),
        _result("warm-up", warmup=True),
        _result("failed", error="http_500"),
        _result("cut off", censored=True),
        _result("not in the log"),
        _result("reset"),
        _result("never written"),
        _result(None, sent_s=None),
    ]
    names = ("both", "warm-up", "failed", "cut off", "only in the log", "calibration probe", "")
    truths = [
        *map(_truth, names),
        _truth("reset", fault="reset"),
        _truth("never written", first_s=None),
    ]
    assert [(result.request_id, truth.request_id) for result, truth in join(results, truths)] == [("both", "both")]


def test_what_the_client_adds_is_the_difference_of_each_request() -> None:
    results = [_result("a"), _result("b", 60.0, gaps_ms=(10.5, 9.5))]
    # The second was slower on the server too: it is not the client that took longer.
    truths = [_truth("b", first_s=100.057, end_s=100.077), _truth("a")]
    point = _point(results, truths, _CLIENT)
    assert point.start == Added(1.0, 1.0, 1.0)
    assert point.ttft == Added(2.0, 3.0, 3.0)
    assert point.itl == Added(0.0, 0.5, 0.5), "a gap may be shorter at the client; half of them are not longer"
    assert point.e2e == Added(2.0, 3.0, 3.0)
    assert (point.client_e2e_p99_ms, point.server_e2e_p99_ms) == (80.0, 77.0)
    assert point.e2e_error == pytest.approx(3 / 77)
    assert (point.requests, point.samples, point.coalesced, point.late_share) == (2, 2, 0, 0)
    assert point.cpu_ms_per_request == 0.3 * 2 * 10.0 / 2 * 1e3, "both workers, over ten seconds"
    assert point.failed == failed_criteria(point) == ["e2e p99 is +3.9% off the server's own log, above 2%"]


def test_percentiles_are_by_nearest_rank() -> None:
    results = [_result(str(index), 50.0 + index / 10) for index in range(1, 1001)]
    point = _point(results, [_truth(str(index)) for index in range(1, 1001)])
    assert point.ttft == Added(50.0, 99.0, 99.9)


def test_chunks_that_came_together_do_not_hide_how_long_they_took() -> None:
    """The client was away while two were written: it sees one gap of 25 ms, where the server's longest was 10."""
    point = _point([_result(gaps_ms=(25.0, 5.0))], [_truth(gaps_us=(5_000, 10_000, 10_000))])
    assert point.coalesced == 1
    assert point.itl == Added(-5.0, 15.0, 15.0)


def test_what_was_never_sent_is_late_and_has_no_start() -> None:
    never = [_result(None, sent_s=None, censored=True)] * 2
    point = _point([_result("a"), _result("b", sent_s=0.011), *never], [_truth("a")])
    assert point.late_share == 3 / 4
    assert point.start == Added(1.0, 11.0, 11.0)
    assert (point.requests, point.samples) == (4, 1)


def test_the_warm_up_is_in_nothing() -> None:
    point = _point([_result("a"), *[_result("b", 90.0, sent_s=0.03, warmup=True)] * 2], [_truth("a"), _truth("b")])
    assert point.start == Added(1.0, 1.0, 1.0)
    assert (point.requests, point.samples, point.late_share) == (1, 1, 0)


def test_without_a_log_only_the_clients_own_punctuality_is_known() -> None:
    point = _point([_result()], None, _CLIENT)
    assert point.start == Added(1.0, 1.0, 1.0)
    assert point.client is _CLIENT
    assert (point.ttft, point.itl, point.e2e, point.e2e_error, point.has_truth) == (None, None, None, None, False)
    assert point.samples == 1
    assert point.failed == []


def test_a_run_in_which_nothing_ended_well_is_not_trusted() -> None:
    point = _point([_result(error="http_500")], [])
    assert point.failed[0] == "no request succeeded"
    assert _point([], []).failed == ["no request succeeded"]


@pytest.mark.parametrize(
    ("good", "bad", "says"),
    [
        ({"start": Added(0, 1.999, 9)}, {"start": Added(0, 2.0, 2)}, "start delay p99 is 2.00 ms"),
        ({"client_e2e_p99_ms": 244.7}, {"client_e2e_p99_ms": 244.9}, "e2e p99 is +2.0% off"),
        ({"client_e2e_p99_ms": 235.3}, {"client_e2e_p99_ms": 235.1}, "e2e p99 is -2.0% off"),
        ({"late_share": 0.01}, {"late_share": 0.0101}, "1.0% were sent late or never"),
        ({"samples": 990}, {"samples": 989}, "1.1% of the requests failed or never ended"),
        ({}, {"samples": 0}, "no request succeeded"),
        ({}, {"doubts": ["the client was busy"]}, "the client was busy"),
        ({}, {"server_e2e_p99_ms": None}, "e2e cannot be compared with the server's log"),
        ({"has_truth": False, "server_e2e_p99_ms": None}, {"start": Added(3, 3, 3)}, "start delay"),
    ],
)
def test_each_criterion_alone_decides(good: dict[str, Any], bad: dict[str, Any], says: str) -> None:
    assert failed_criteria(make_point(**good)) == []
    (failed,) = failed_criteria(make_point(**bad))
    assert says in failed


def test_the_doubts_of_any_report_count() -> None:
    busy = ClientSummary(**{name: getattr(_CLIENT, name) for name in _CLIENT.__struct_fields__} | {"cpu_share": 0.95})
    point = _point([_result()], [_truth(end_s=100.072)], busy)
    assert point.failed == point.doubts
    assert "95% of one core" in point.doubts[0]


@pytest.mark.parametrize(("server_ms", "was_slow"), [(None, False), (244.0, False), (246.0, True)])
def test_a_server_that_was_late_itself_is_told_apart(server_ms: float | None, was_slow: bool) -> None:
    assert make_point(server_e2e_p99_ms=server_ms).server_was_slow is was_slow
