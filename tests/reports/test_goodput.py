"""Objectives, and who meets them."""

from __future__ import annotations

from typing import Any

import pytest
from abatch.engine.errors import ConfigurationError
from abatch.reports.gates.judge import Outcome
from abatch.reports.recording.goodput import Objective, meets, parse_objectives
from abatch.reports.recording.recorder import Recorder
from abatch.reports.summary.summary import Summary, fill_summary
from abatch.workloads.result import Result
from support.results import make_result
from support.rules import judged

_ALL = parse_objectives("ttft:50, tpot:10,max_gap:20,e2e:100")


def test_objectives_are_parsed() -> None:
    assert parse_objectives("ttft:200,tpot:50.5") == (Objective("ttft", 200.0), Objective("tpot", 50.5))
    assert parse_objectives("ttft:200ms, e2e:1.5s") == (Objective("ttft", 200.0), Objective("e2e", 1500.0))


@pytest.mark.parametrize(
    "text", ["", "ttft", "ttft:", "ttft:0", "ttft:-1", "ttft:inf", "ttft:nan", "itl:3", "ttft:5,,"]
)
def test_what_is_no_objective_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="expected a metric"):
        parse_objectives(text)


def test_an_objective_is_named_once() -> None:
    with pytest.raises(ConfigurationError, match="twice"):
        parse_objectives("ttft:5,ttft:6")


@pytest.mark.parametrize(
    ("result", "is_met"),
    [
        (make_result(50.0, gaps_ms=(10.0, 10.0)), True),
        (make_result(51.0, gaps_ms=(1.0,)), False),
        (make_result(10.0, gaps_ms=(11.0, 11.0)), False),
        (make_result(10.0, gaps_ms=(21.0, *[1.0] * 20)), False),
        (make_result(49.0, gaps_ms=(9.0,) * 6), False),
        (make_result(10.0, gaps_ms=()), True),
        (make_result(1.0, error="timeout"), False),
        (make_result(1.0, censored=True), False),
    ],
    ids=["at the limit", "ttft", "tpot", "one gap", "e2e", "one token", "failed", "cut off"],
)
def test_a_request_meets_all_or_nothing(result: Result, is_met: bool) -> None:
    assert meets(result, _ALL) is is_met


def _recorded(*results: Result, **options: Any) -> Recorder:
    recorder = Recorder(**options)
    for result in results:
        recorder.add(result)
    return recorder


def test_goodput_is_of_all_that_was_due_by_class() -> None:
    results = [
        make_result(10.0),
        make_result(60.0),
        make_result(10.0, traffic_class="agent"),
        make_result(1.0, traffic_class="agent", error="timeout"),
        make_result(1.0, traffic_class="agent", sent_s=None, first_s=None, censored=True),
        make_result(60.0, warmup=True),
    ]
    goodput = _recorded(*results, objectives=parse_objectives("ttft:50")).goodput(10.0)
    assert goodput is not None
    assert (goodput.share, goodput.rate) == (0.4, 0.2)
    assert goodput.by_class == {"agent": pytest.approx(1 / 3, abs=1e-6), "chat": 0.5}
    halves = [_recorded(*part, objectives=parse_objectives("ttft:50")) for part in (results[:2], results[2:])]
    halves[0].merge(halves[1])
    assert halves[0].goodput(10.0) == goodput


def test_without_objectives_there_is_none() -> None:
    assert _recorded(make_result()).goodput(10.0) is None


def _judged(rule: str, *, is_late: bool = False, has_objectives: bool = True) -> Outcome:
    """Of a run in which 90 of 100 requests met the objective."""
    objectives = parse_objectives("ttft:50") if has_objectives else ()
    results = [make_result(60.0 if number % 10 == 3 else 10.0, due_s=number * 0.1) for number in range(100)]
    summary = fill_summary(Summary(), _recorded(*results, objectives=objectives), 10.0)
    summary.late_arrivals = 50 if is_late else 0
    return judged(rule, summary).outcome


@pytest.mark.parametrize(
    ("rule", "options", "outcome"),
    [
        ("goodput >= 80%", {}, Outcome.PASS),
        ("goodput >= 90%", {}, Outcome.INCONCLUSIVE),
        ("goodput >= 95%", {}, Outcome.FAIL),
        ("goodput >= 95%", {"is_late": True}, Outcome.INCONCLUSIVE),
        ("goodput >= 80%", {"is_late": True}, Outcome.PASS),
        ("goodput >= 1%", {"has_objectives": False}, Outcome.INCONCLUSIVE),
    ],
    ids=["holds", "may hold", "does not", "the client was late", "held though the client was late", "no objectives"],
)
def test_goodput_is_a_rule(rule: str, options: dict[str, Any], outcome: Outcome) -> None:
    assert _judged(rule, **options) is outcome


@pytest.mark.parametrize(("row", "outcome"), [(1, Outcome.PASS), (25, Outcome.INCONCLUSIVE)])
def test_what_misses_together_is_one_event(row: int, outcome: Outcome) -> None:
    """5% of 2,000 requests miss: each by itself, or 25 in a row, four times."""
    missed = {start + index for start in range(7, 2000, 20 * row) for index in range(row)}
    results = [make_result(60.0 if number in missed else 10.0, due_s=number / 20) for number in range(2000)]
    summary = fill_summary(Summary(), _recorded(*results, objectives=parse_objectives("ttft:50")), 100.0)
    assert summary.goodput is not None
    assert summary.goodput.share == 0.95
    assert judged("goodput >= 93%", summary).outcome is outcome
    assert (summary.goodput.independent or 0.0) < 2000
