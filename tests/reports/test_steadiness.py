"""A run that grows all the time has no verdict on its tail: overload is not even-handedness, and drift is no moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from abatch.reports.attribution.drift import drift
from abatch.reports.gates.judge import Outcome
from abatch.reports.recording.latency_trend import LatencyTrend, find_trend
from abatch.reports.run.config import RunConfig
from abatch.reports.run.recorded_part import recorded_part, summarise
from abatch.reports.statistics.time_blocks import TimeBlocks
from abatch.reports.statistics.trend import rank_correlation
from abatch.reports.summary.finding import Label
from abatch.reports.summary.findings import findings
from abatch.reports.summary.summary import Summary
from abatch.workloads.result import Result
from hypothesis import given
from hypothesis import strategies as st
from support.known_queues import queue_run
from support.results import make_result
from support.rules import judged


def _trend(results: Sequence[Result]) -> LatencyTrend | None:
    blocks = TimeBlocks()
    for result in results:
        blocks.add(result.due_s, (result.ttft_us,))
    return find_trend("ttft", blocks.blocks())


def _summary(results: Sequence[Result]) -> Summary:
    config = RunConfig(duration_s=max(result.due_s for result in results))
    recorder = config.new_recorder()
    for result in results:
        recorder.add(result)
    assert config.duration_s is not None
    return summarise(config, recorded_part(config, recorder, config.duration_s, lambda: results))


def _slower(factor: float) -> Callable[[float], float]:
    return lambda share: 1 + (factor - 1) * share


@pytest.mark.parametrize(
    ("load", "slowness", "least", "most"),
    [
        (0.5, _slower(1.0), 0, 1),
        (0.9, _slower(1.0), 0, 4),
        (1.2, _slower(1.0), 30, 30),
        (0.3, _slower(4.0), 28, 30),
    ],
    ids=["half loaded", "near saturation", "overloaded", "four times slower at the end"],
)
def test_growth_is_found_and_luck_is_not(
    load: float, slowness: Callable[[float], float], least: int, most: int
) -> None:
    """Thirty runs of 1,000 requests each; the bounds leave room for three standard errors of the rates in the docs."""
    found = sum(_trend(queue_run(load, 1000, seed, slowness=slowness)) is not None for seed in range(30))
    assert least <= found <= most


def test_an_overloaded_server_is_not_acquitted_by_its_ratio() -> None:
    summary = _summary(queue_run(1.2, 1500, 1))
    ttft = summary.metrics["ttft"]["all"]
    assert ttft.tail_ratio < 3, "the trap: all wait, and longer all the time"
    first = findings(summary)[0]
    assert first.label is Label.OVERLOADED
    assert "the server did not keep up" in first.words
    assert "requests in flight grew from" in first.words
    assert Label.OK not in {finding.label for finding in findings(summary)}


def test_rules_on_percentiles_are_inconclusive_then_and_others_are_judged() -> None:
    summary = _summary(queue_run(1.2, 1500, 1))
    for rule in ("ttft.p99/p50 <= 3", "ttft.p50 < 1h", "e2e.p99 < 100s"):
        judgement = judged(rule.replace("1h", "3600s"), summary)
        assert judgement.outcome is Outcome.INCONCLUSIVE
        assert "did not keep up" in judgement.reason
    assert judged("errors < 1%", summary).outcome is Outcome.PASS
    assert judged("achieved_rate >= 100% of offered", summary).outcome is Outcome.FAIL


def test_a_server_that_becomes_slower_without_a_backlog_is_not_steady() -> None:
    summary = _summary(
        [make_result(20.0 + index / 20, due_s=index / 10, session_id=str(index)) for index in range(1000)]
    )
    first = findings(summary)[0]
    assert first.label is Label.NOT_STEADY
    assert "p50 of TTFT grew from" in first.words
    assert judged("ttft.p99/p50 <= 3", summary).outcome is Outcome.INCONCLUSIVE


def test_contexts_that_grow_are_no_overload() -> None:
    """Sessions build up: prompts grow threefold over the run, and the time to the first token with them."""
    results = [
        make_result(20.0 + index / 20, due_s=index / 10, session_id=str(index), prompt_tokens=1000 + 3 * index)
        for index in range(1000)
    ]
    summary = _summary(results)
    assert summary.trend is not None
    assert Label.NOT_STEADY not in {finding.label for finding in findings(summary)}
    assert any("so did the prompts" in warning for warning in summary.warnings)
    slower = [
        make_result(4 * one.ttft_us / 1e3, due_s=one.due_s, prompt_tokens=1000 + one.turn_index) for one in results
    ]
    assert findings(_summary(slower))[0].label is Label.NOT_STEADY, "sizes that do not grow excuse nothing"


def test_a_short_or_sparse_run_is_not_accused() -> None:
    assert _trend([make_result(10.0 * index, due_s=index / 10) for index in range(1, 60)]) is None
    assert _trend([]) is None


@given(st.lists(st.integers(0, 20), max_size=30))
def test_rank_correlation_is_what_its_definition_says(values: list[int]) -> None:
    found = rank_correlation(values)
    assert -1 <= found <= 1 or found == pytest.approx(round(found))
    if len(set(values)) > 1:
        assert rank_correlation([-value for value in values]) == pytest.approx(-found)
        assert rank_correlation([value**3 for value in values]) == pytest.approx(found), "only the order counts"
    else:
        assert found == 0


def test_rank_correlation_of_known_values() -> None:
    assert rank_correlation([1, 2, 3, 4]) == pytest.approx(1)
    assert rank_correlation([4, 3, 2, 1]) == pytest.approx(-1)
    assert rank_correlation([1, 3, 2, 4]) == pytest.approx(0.8)


def test_a_client_that_falls_behind_accuses_itself_and_not_the_server() -> None:
    """Its own delay makes latencies grow, and they count from when requests were due."""
    results = queue_run(1.2, 1500, 1)
    late = [msgspec.structs.replace(one, sent_s=one.first_s) for one in results]
    summary = _summary(late)
    assert summary.trend is not None
    labels = {finding.label for finding in findings(summary)}
    assert findings(summary)[0].label is Label.NOT_TRUSTED
    assert not labels & {Label.OVERLOADED, Label.NOT_STEADY}
    waits: list[Any] = [SimpleNamespace(start_s=float(at_s)) for at_s in range(100)]
    assert drift(waits[90:], waits, _summary(results)) is not None, "nor is the server's overload the cause of its tail"
    assert drift(waits[90:], waits, summary) is None
    assert judged("ttft.p50 < 3600s", summary).outcome is Outcome.INCONCLUSIVE


def test_the_reason_of_a_rule_is_one_sentence() -> None:
    summary = _summary(queue_run(1.2, 1500, 1))
    assert "lower the rate" in findings(summary)[0].words
    assert "lower the rate" not in judged("ttft.p50 < 3600s", summary).reason


def test_a_limit_of_places_is_named() -> None:
    """The server may well keep up with more requests at once."""
    results = [
        msgspec.structs.replace(one, waited_s=one.ttft_us / 1e6, sent_s=one.first_s) for one in queue_run(1.2, 1500, 1)
    ]
    words = findings(_summary(results))[0].words
    assert words.startswith("the server did not keep up at so few requests at once (--max-in-flight): ")
    assert "raise --max-in-flight" in words
