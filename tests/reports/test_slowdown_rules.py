"""Rules on slowdowns: bare numbers, judged by their intervals, inconclusive where the idle server was not probed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from abatch.engine.errors import ConfigurationError
from abatch.reports.gates.judge import Judgement, Outcome, judge
from abatch.reports.gates.parser import parse_rule
from abatch.reports.recording.idle_model import IdleModel, IdlePoint
from abatch.reports.recording.latency_trend import LatencyTrend
from abatch.reports.recording.recorder import ALL
from abatch.reports.run.measurement import Measurement
from support.measured import measurement, noisy
from support.results import make_result
from support.rules import judged

_IDLE = IdleModel(
    requests=8, is_probed=True, points=[IdlePoint(20.0, 10.0)], itl_base_ms=5.0, spread=0.0, largest_prompt=20
)
"""Requests of `noisy` have a ttft of 50 ms on average and 10 ms between tokens: 5 and 2 times as much."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Measurement:
    return measurement(tmp_path_factory.mktemp("slow"), noisy(1, count=4000), idle=_IDLE)


def _judge(rule: str, run: Measurement, baseline: Measurement | None = None) -> Judgement:
    return judge(parse_rule(rule), run, baseline)


@pytest.mark.parametrize(
    ("rule", "outcome"),
    [
        ("ttft.slowdown.p50 <= 6", Outcome.PASS),
        ("chat.ttft.slowdown.p50 < 4.5", Outcome.FAIL),
        ("ttft.slowdown.p99 <= 20", Outcome.PASS),
        ("ttft.slowdown.p99 <= 8", Outcome.FAIL),
        ("tpot.slowdown.p95 > 1.5", Outcome.PASS),
        ("chat.e2e.slowdown.p50 < 3.6", Outcome.PASS),
        ("ttft.slowdown.p50 <= 5", Outcome.INCONCLUSIVE),
        ("agent.ttft.slowdown.p50 < 5", Outcome.INCONCLUSIVE),
        ("ttft.slowdown.p99.99 < 5", Outcome.INCONCLUSIVE),
    ],
)
def test_outcomes(rule: str, outcome: Outcome, run: Measurement) -> None:
    assert _judge(rule, run).outcome is outcome, _judge(rule, run).reason


def test_the_reason_has_value_and_interval(run: Measurement) -> None:
    reason = _judge("ttft.slowdown.p50 <= 6", run).reason
    assert reason.startswith("measured 5.0")
    assert "times the idle server's; 95% CI 4." in reason
    assert "spans the bound" in _judge("ttft.slowdown.p50 <= 5", run).reason
    assert "classes are all, chat" in _judge("agent.ttft.slowdown.p50 < 5", run).reason


def test_a_summary_alone_is_enough_for_what_it_holds(run: Measurement) -> None:
    assert judged("ttft.slowdown.p50 <= 6", run.summary).outcome is Outcome.PASS
    assert "not in the summary" in judged("ttft.slowdown.p95 <= 6", run.summary).reason


@pytest.mark.parametrize("idle", [None, msgspec.structs.replace(_IDLE, is_probed=False)], ids=["none", "envelope"])
def test_without_a_probe_nothing_can_be_said(idle: IdleModel | None, run: Measurement) -> None:
    unprobed = msgspec.structs.replace(run.summary, idle=idle)
    judgement = judged("ttft.slowdown.p99 <= 1000", unprobed)
    assert judgement.outcome is Outcome.INCONCLUSIVE
    assert "no idle probe" in judgement.reason


def test_what_speaks_against_latencies_speaks_against_slowdowns(run: Measurement) -> None:
    failing = msgspec.structs.replace(run.summary, errors={"http_500": run.summary.requests})
    assert judged("ttft.slowdown.p50 <= 6", failing).outcome is Outcome.INCONCLUSIVE
    cut = msgspec.structs.replace(run.summary, censored=round(0.03 * run.summary.requests))
    assert judged("ttft.slowdown.p99 <= 20", cut).outcome is Outcome.INCONCLUSIVE
    assert judged("ttft.slowdown.p50 <= 6", cut).outcome is Outcome.PASS


def test_a_rule_must_hold_at_the_worst_too(tmp_path: Path) -> None:
    """Half a percent were cut off: the p99 may be what is the p99.5 of the rest."""
    results = [make_result(20.0 if index % 150 else 200.0, due_s=index / 50) for index in range(3000)]
    whole = measurement(tmp_path / "whole", results, idle=_IDLE, simulated=True)
    assert _judge("ttft.slowdown.p99 <= 5", whole).outcome is Outcome.PASS
    summary = msgspec.structs.replace(whole.summary, censored=15)
    judgement = _judge("ttft.slowdown.p99 <= 5", Measurement(whole.rounds, summary))
    assert judgement.outcome is Outcome.INCONCLUSIVE
    assert "had never ended" in judgement.reason


def test_a_simulated_number_is_what_it_is(tmp_path: Path) -> None:
    exact = measurement(
        tmp_path, [make_result(50.0, due_s=index / 10) for index in range(40)], idle=_IDLE, simulated=True
    )
    assert _judge("ttft.slowdown.p50 <= 5.1", exact).outcome is Outcome.PASS
    assert _judge("ttft.slowdown.p50 <= 4.9", exact).outcome is Outcome.FAIL


def test_against_a_baseline(run: Measurement, tmp_path: Path) -> None:
    slower = measurement(tmp_path, noisy(1, count=4000, factor=1.5), idle=_IDLE)
    assert _judge("ttft.slowdown.p50 <= baseline + 10%", slower, run).outcome is Outcome.FAIL
    assert _judge("ttft.slowdown.p50 <= baseline + 60%", slower, run).outcome is Outcome.PASS
    assert _judge("ttft.slowdown.p50 <= baseline + 10%", run, run).outcome is Outcome.PASS


def test_growth_that_both_runs_had_is_no_obstacle_as_for_latencies(tmp_path: Path) -> None:
    trend = LatencyTrend(metric="ttft", percentile=50, first_ms=20.0, last_ms=60.0, correlation=0.9)
    base, same, other = (
        measurement(tmp_path / f"{seed}-{factor}", noisy(1, factor=factor), idle=_IDLE, traffic={"seed": seed})
        for seed, factor in ((1, 1.0), (1, 1.3), (2, 1.3))
    )
    for one in (base, same, other):
        one.summary.trend = trend
    rule = "ttft.slowdown.p50 <= baseline + 10%"
    assert _judge(rule, same, base).outcome is Outcome.FAIL
    assert _judge(rule, base, same).outcome is Outcome.PASS
    unpaired = _judge(rule, other, base)
    assert unpaired.outcome is Outcome.INCONCLUSIVE
    assert "grew from 20 ms" in unpaired.reason
    assert _judge("ttft.slowdown.p50 <= 100", same).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("rule", "column", "expected"),
    [
        ("ttft.slowdown.p99 <= 5ms", 23, "no unit after a slowdown"),
        ("itl.slowdown.p99 <= 5", 5, "only ttft, tpot, e2e have a slowdown"),
        ("ttft.slowdown <= 5", 14, "a percentile, such as ttft.slowdown.p99"),
        ("ttft.slowdown.mean <= 5", 15, "a percentile of the slowdown"),
        ("ttft.slowdown.p99/p50 <= 5", 18, "one of <="),
    ],
)
def test_mistakes_name_the_column(rule: str, column: int, expected: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_rule(rule)
    assert f"column {column}: expected" in str(refused.value)
    assert expected in str(refused.value)


def test_a_rule_says_what_it_is_about() -> None:
    rule = parse_rule("ttft.slowdown.p99 <= 5")
    assert (rule.metric, rule.is_slowdown, rule.statistic.name, rule.traffic_class) == ("ttft", True, "p99", ALL)
    assert not parse_rule("slowdown.ttft.p99 <= 5s").is_slowdown, "a class may be called that"
