"""Rules against a baseline: what is too close to call is neither a pass nor a failure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from abatch.reports.gates.judge import Judgement, Outcome, judge
from abatch.reports.gates.parser import parse_rule
from abatch.reports.recording.goodput import GoodputSummary
from abatch.reports.recording.latency_trend import LatencyTrend
from abatch.reports.run.measurement import Measurement
from abatch.reports.summary.summary import Summary
from abatch.workloads.result import Result
from support.measured import LENGTH_S, measurement, noisy, write_run
from support.results import make_result

SAME = {"seed": 1, "duration": 60.0}
"""Traffic that both sides of a comparison had."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Measurement]:
    folder = tmp_path_factory.mktemp("runs")
    failing = [
        make_result(due_s=index / 20, session_id=str(index), error="http_500" if index % 50 == 0 else None)
        for index in range(1200)
    ]
    return {
        "base": measurement(folder / "base", noisy(1, count=2400), goodput="ttft:60"),
        "again": measurement(folder / "again", noisy(2, count=2400), goodput="ttft:60"),
        "slower": measurement(folder / "slower", noisy(3, count=2400, factor=1.4), goodput="ttft:60"),
        "few": measurement(folder / "few", noisy(4, count=200)),
        "failing": measurement(folder / "failing", failing),
    }


def judged(rule: str, run: Measurement, baseline: Measurement | None) -> Judgement:
    return judge(parse_rule(rule), run, baseline)


@pytest.mark.parametrize(
    ("rule", "run", "outcome"),
    [
        ("ttft.p50 <= baseline + 10%", "again", Outcome.PASS),
        ("ttft.p99 <= baseline + 30%", "again", Outcome.PASS),
        ("ttft.p99 <= baseline + 10%", "slower", Outcome.FAIL),
        ("chat.ttft.p99 <= 110% of baseline", "slower", Outcome.FAIL),
        ("ttft.p50 <= baseline + 10ms", "again", Outcome.PASS),
        ("ttft.p50 <= baseline + 10ms", "slower", Outcome.FAIL),
        ("ttft.p99 <= baseline + 1%", "again", Outcome.INCONCLUSIVE),
        ("ttft.p99 <= baseline", "again", Outcome.INCONCLUSIVE),
        ("ttft.p99 >= baseline + 20%", "slower", Outcome.PASS),
        ("ttft.p95 <= baseline + 30%", "again", Outcome.PASS),
        ("ttft.mean <= baseline + 10%", "slower", Outcome.FAIL),
        ("ttft.p99/p50 <= baseline + 30%", "slower", Outcome.PASS),
        ("tpot.p50 <= baseline + 10%", "slower", Outcome.FAIL),
        ("errors <= baseline + 1%", "again", Outcome.PASS),
        ("errors <= baseline + 0.1%", "failing", Outcome.FAIL),
        ("errors <= baseline + 2%", "failing", Outcome.INCONCLUSIVE),
        ("goodput >= baseline - 10%", "again", Outcome.PASS),
        ("goodput >= baseline - 10%", "slower", Outcome.FAIL),
        ("goodput >= 90% of baseline", "slower", Outcome.FAIL),
        ("output_tokens_per_s >= baseline - 10%", "again", Outcome.PASS),
        ("output_tokens_per_s >= 150% of baseline", "again", Outcome.FAIL),
        ("achieved_rate >= 95% of baseline", "again", Outcome.PASS),
        ("nobody.ttft.p50 <= baseline", "again", Outcome.INCONCLUSIVE),
        ("ttft.p99 <= baseline + 10%", "few", Outcome.INCONCLUSIVE),
        ("goodput >= baseline", "few", Outcome.INCONCLUSIVE),
    ],
)
def test_rules_against_a_baseline(runs: dict[str, Measurement], rule: str, run: str, outcome: Outcome) -> None:
    judgement = judged(rule, runs[run], runs["base"])
    assert judgement.outcome is outcome, judgement.reason
    if outcome is not Outcome.INCONCLUSIVE:
        assert "95% CI" in judgement.reason, "the interval that decided it"


def test_without_a_baseline_nothing_is_a_pass(runs: dict[str, Measurement]) -> None:
    judgement = judged("ttft.p50 <= baseline + 900%", runs["base"], None)
    assert judgement.outcome is Outcome.INCONCLUSIVE
    assert "--baseline" in judgement.reason


def test_a_baseline_that_is_only_a_summary_says_what_is_missing(runs: dict[str, Measurement]) -> None:
    judgement = judged("ttft.p50 <= baseline + 900%", runs["again"], Measurement((), runs["base"].summary))
    assert judgement.outcome is Outcome.INCONCLUSIVE
    assert "results.jsonl" in judgement.reason


@contextmanager
def changed(run: Measurement, **fields: Any) -> Iterator[Measurement]:
    before = {name: getattr(run.summary, name) for name in fields}
    for name, value in fields.items():
        setattr(run.summary, name, value)
    yield run
    for name, value in before.items():
        setattr(run.summary, name, value)


def test_what_is_wrong_with_the_baseline_is_no_reason_to_pass_or_fail(runs: dict[str, Measurement]) -> None:
    with changed(runs["base"], errors={"http_500": 600}) as base:
        failed = judged("ttft.p50 <= baseline + 10%", runs["again"], base)
    assert failed.outcome is Outcome.INCONCLUSIVE
    assert failed.reason.startswith("the baseline: 25% of the requests failed")
    with changed(runs["base"], succeeded=0) as base:
        assert judged("errors <= baseline + 10%", runs["again"], base).outcome is Outcome.INCONCLUSIVE
    with changed(runs["base"], dropped_arrivals=30) as base:
        cut = judged("ttft.p99 <= baseline + 10%", runs["slower"], base)
    assert cut.outcome is Outcome.INCONCLUSIVE, "the baseline's tail may be longer than was seen"


def test_a_run_whose_tail_was_cut_off_does_not_pass(runs: dict[str, Measurement]) -> None:
    with changed(runs["again"], dropped_arrivals=30) as run:
        assert judged("ttft.p99 <= baseline + 30%", run, runs["base"]).outcome is Outcome.INCONCLUSIVE
        assert judged("ttft.p50 <= baseline + 30%", run, runs["base"]).outcome is Outcome.PASS


def test_the_same_traffic_is_compared_more_sharply(tmp_path: Path) -> None:
    """5% slower at every request: told if both had the same requests, not told if they had others."""
    base = measurement(tmp_path / "base", noisy(1, spread=0.6), traffic=SAME)
    same = measurement(tmp_path / "same", noisy(1, factor=1.05, spread=0.6), traffic=SAME)
    other = measurement(tmp_path / "other", noisy(2, factor=1.05, spread=0.6), traffic=SAME | {"seed": 2})
    rule = "ttft.p99 <= baseline + 2%"
    assert judged(rule, same, base).outcome is Outcome.FAIL
    assert judged(rule, other, base).outcome is Outcome.INCONCLUSIVE


def test_any_percentile_and_any_quotient_has_an_interval_from_the_results(tmp_path: Path) -> None:
    run = Measurement([write_run(tmp_path / "run", noisy(1))])
    for rule in ("ttft.p95 < 200ms", "ttft.p90/p50 <= 3", "tpot.p99 < 50ms", "ttft.mean < 200ms"):
        judgement = judged(rule, run, None)
        assert judgement.outcome is Outcome.PASS, judgement.reason
        assert "95% CI" in judgement.reason
    close = judged("ttft.p95 < 82ms", run, None)
    assert close.outcome is Outcome.INCONCLUSIVE, close.reason
    assert "run longer" in close.reason


def test_what_was_offered_is_what_should_be_achieved(runs: dict[str, Measurement]) -> None:
    assert judged("achieved_rate >= 95% of offered", runs["base"], None).outcome is Outcome.PASS
    assert judged("achieved_rate >= 99.9% of offered_rate", runs["failing"], None).outcome is Outcome.FAIL
    reason = judged("achieved_rate >= 95% of offered", runs["base"], None).reason
    assert "of the 40 offered" in reason


def outage(seed: int, from_s: float, **fields: Any) -> list[Result]:
    """A server that answers nothing from some moment on: an error for each request."""
    return [
        msgspec.structs.replace(result, error="http_500", first_s=None, gaps_us=[], end_s=result.due_s + 0.01)
        if result.due_s >= from_s
        else result
        for result in noisy(seed, **fields)
    ]


@pytest.mark.parametrize("is_same", [False, True])
def test_time_in_which_nothing_ends_is_no_throughput(tmp_path: Path, is_same: bool) -> None:
    """It broke down half way: half of the throughput, whether or not the traffic was the same."""
    base = measurement(tmp_path / "base", noisy(1), traffic=SAME)
    broken = measurement(tmp_path / "broken", outage(1, 30.0), traffic=SAME if is_same else {"seed": 2})
    for rule in ("achieved_rate >= 80% of baseline", "output_tokens_per_s >= baseline - 20%"):
        judgement = judged(rule, broken, base)
        assert judgement.outcome is not Outcome.PASS, judgement.reason
        assert "-50" in judgement.reason or "-49" in judgement.reason
    assert judged("achieved_rate >= 95% of baseline", base, base).outcome is Outcome.PASS


def test_requests_that_never_ended_may_have_failed(runs: dict[str, Measurement]) -> None:
    with changed(runs["again"], censored=600) as run:
        assert judged("errors <= baseline + 1%", run, runs["base"]).outcome is Outcome.INCONCLUSIVE
        assert judged("errors < 1%", run, None).outcome is Outcome.INCONCLUSIVE
    with changed(runs["again"], late_arrivals=1200) as run:
        assert judged("goodput >= baseline - 5%", run, runs["base"]).outcome is Outcome.INCONCLUSIVE


def test_a_lower_bound_fails_an_upper_one_and_passes_a_lower_one(runs: dict[str, Measurement]) -> None:
    with changed(runs["again"], censored=40) as run:
        assert judged("ttft.p99 >= 10s", run, None).outcome is Outcome.INCONCLUSIVE, "it may be more than was seen"
        assert judged("ttft.p99 >= 10ms", run, None).outcome is Outcome.PASS
        assert judged("ttft.p99 < 10s", run, None).outcome is Outcome.INCONCLUSIVE
        assert judged("ttft.p99 < 10ms", run, None).outcome is Outcome.FAIL


def test_shares_are_judged_by_their_interval() -> None:
    few = Summary(requests=20, succeeded=20, goodput=GoodputSummary(objectives={}, share=1.0, rate=1.0, by_class={}))
    assert judged("goodput >= 95%", Measurement((), few), None).outcome is Outcome.INCONCLUSIVE
    assert judged("goodput >= 80%", Measurement((), few), None).outcome is Outcome.PASS


def test_all_at_once_is_too_little_time_to_tell(tmp_path: Path) -> None:
    burst = [make_result(10.0 + index / 100, session_id=str(index)) for index in range(400)]
    run = measurement(tmp_path / "burst", burst)
    for rule in ("ttft.p99 <= 200ms", "ttft.p95 <= 50ms"):
        judgement = judged(rule, run, None)
        assert judgement.outcome is Outcome.INCONCLUSIVE
        assert "too little data for a confidence interval" in judgement.reason
    assert judged("ttft.max <= 200ms", run, None).outcome is Outcome.PASS, "of this run, that is what it was"


def test_other_traffic_and_a_model_of_a_device_are_no_baseline(tmp_path: Path, runs: dict[str, Measurement]) -> None:
    for name, labels in (("other", {"workload": "hol-probe"}), ("model", {"simulated": True})):
        run = measurement(tmp_path / name, noisy(1), **labels)
        assert judged("ttft.p50 <= baseline + 900%", run, runs["base"]).outcome is Outcome.INCONCLUSIVE


def test_growth_that_both_runs_had_is_no_obstacle(tmp_path: Path) -> None:
    """Sessions that build up make every run of them grow. Against one of other traffic that is a reason for doubt."""
    trend = LatencyTrend(metric="ttft", percentile=50, first_ms=20.0, last_ms=60.0, correlation=0.9)
    base = measurement(tmp_path / "base", noisy(1), traffic=SAME)
    same = measurement(tmp_path / "same", noisy(1, factor=1.3), traffic=SAME)
    other = measurement(tmp_path / "other", noisy(2, factor=1.3), traffic=SAME | {"seed": 2})
    rule = "ttft.p50 <= baseline + 10%"
    for one in (base, same, other):
        one.summary.trend = trend
    assert judged(rule, same, base).outcome is Outcome.FAIL
    unpaired = judged(rule, other, base)
    assert unpaired.outcome is Outcome.INCONCLUSIVE
    assert "grew from 20 ms" in unpaired.reason
    assert judged("ttft.p50 <= 10s", same, None).outcome is Outcome.INCONCLUSIVE


def test_stretches_that_the_whole_run_contradicts_decide_nothing(tmp_path: Path) -> None:
    """Three slow requests in a hundred of 200 ms, then hardly more than one of 300: a stretch's p99 misses that one."""

    def with_slow(every: int, ttft_ms: float) -> list[Result]:
        return [
            make_result(ttft_ms if index % every == 0 else 50.0, due_s=LENGTH_S * index / 2400, session_id=str(index))
            for index in range(2400)
        ]

    base = measurement(tmp_path / "base", with_slow(33, 200.0), traffic=SAME)
    run = measurement(tmp_path / "run", with_slow(96, 300.0), traffic=SAME)
    judgement = judge(parse_rule("ttft.p99 <= baseline + 10%"), run, base)
    assert judgement.outcome is Outcome.INCONCLUSIVE
    assert "measured 300" in judgement.reason
    assert "the whole runs say otherwise" in judgement.reason
