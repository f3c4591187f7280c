"""Rules on shares: failures that come together are one event, and none at all decides what it did before."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from abatch.reports.comparison.comparison import failures_in_words
from abatch.reports.gates.judge import Outcome, judge
from abatch.reports.gates.parser import parse_rule
from abatch.reports.recording.recorder import Recorder
from abatch.reports.run.measurement import Measurement
from abatch.reports.statistics.proportion import share_interval
from abatch.reports.statistics.share_blocks import ShareBlocks
from abatch.reports.summary.summary import Summary, fill_summary
from abatch.workloads.targets.client_limit import CLIENT_LIMIT
from support.failures import FailingServer
from support.results import make_result
from support.rules import judged


def served(count: int, fails: Callable[[int], bool], error: str = "disconnected") -> Summary:
    """So many requests, 20 per second."""
    recorder = Recorder()
    for number in range(count):
        recorder.add(make_result(10.0, due_s=number / 20, error=error if fails(number) else None))
    return fill_summary(Summary(), recorder, count / 20)


def killed(count: int = 1200) -> Summary:
    """A server that is down for two seconds."""
    return served(count, lambda number: 600 <= number < 640)


def test_failures_that_come_together_are_one_event() -> None:
    """40 of 1,200, one by one or in two seconds: another minute may well have two such outages."""
    scattered = served(1200, lambda number: number % 30 == 7)
    assert judged("errors < 5%", scattered).outcome is Outcome.PASS
    together = judged("errors < 5%", killed())
    assert together.outcome is Outcome.INCONCLUSIVE
    assert together.reason.startswith("measured 3.333%; in clusters, so 1,200 requests count as ")
    assert "spans the bound: run longer" in together.reason
    assert "clusters" not in judged("errors < 5%", scattered).reason
    assert judged("errors < 1%", killed()).outcome is Outcome.FAIL, "it has happened"


@pytest.mark.parametrize(("count", "rule"), [(1000, "errors < 1%"), (3838, "errors < 0.1%")])
def test_no_failure_at_all_decides_what_it_did(count: int, rule: str) -> None:
    assert judged(rule, served(count, lambda number: False)).outcome is Outcome.PASS


def test_what_must_be_equal_stays_exact() -> None:
    assert judged("errors == 0", served(1000, lambda number: False)).outcome is Outcome.PASS
    assert judged("errors == 0", served(1000, lambda number: number == 500)).outcome is Outcome.FAIL
    assert judged("errors < 1%", served(1000, lambda number: number == 500)).outcome is Outcome.PASS
    at_once = Recorder()
    for number in range(1000):
        at_once.add(make_result(10.0, error="disconnected" if number == 500 else None))
    assert judged("errors < 1%", fill_summary(Summary(), at_once, 10.0)).outcome is Outcome.PASS


def test_limits_of_the_client_are_no_failures_of_the_server() -> None:
    limited = served(1000, lambda number: number < 20, error=CLIENT_LIMIT)
    assert limited.independent_requests == 1000


def test_against_a_baseline_clusters_count_as_little() -> None:
    base = Measurement((), served(1200, lambda number: number % 200 == 7))
    rule = parse_rule("errors <= baseline + 1%")
    scattered = Measurement((), served(1200, lambda number: number % 30 == 7))
    assert judge(rule, scattered, base).outcome is Outcome.FAIL
    assert judge(rule, Measurement((), killed()), base).outcome is Outcome.INCONCLUSIVE


def test_a_comparison_says_whether_the_failures_may_be_chance() -> None:
    clean = served(1200, lambda number: False)
    for other, may_be_chance in (
        (killed(), True),
        (served(1200, lambda number: number % 30 == 7), False),
        (served(1200, lambda number: number % 120 == 7), False),
    ):
        note = failures_in_words(clean, other)
        assert note is not None
        assert ("may be chance" in note) is may_be_chance, note
    assert failures_in_words(clean, served(1200, lambda number: number == 7)) is None


def test_intervals_of_clustered_failures_hold_the_truth() -> None:
    """Down for half a second every 20 s: of 60 runs, 3 should miss; if each request counts for itself, 30 do."""
    server, covered, by_each = FailingServer(every_s=20.0, length_s=0.5), 0, 0
    for seed in range(60):
        blocks, failed = ShareBlocks(), 0
        for at_s, fails in server.draw(seed, 2000):
            blocks.add(at_s, is_of_kind=fails)
            failed += fails
        for independent in (blocks.independent(), 2000.0):
            interval = share_interval(failed / 2000, independent)
            holds = interval.low <= server.share <= interval.high
            covered += holds and independent < 2000
            by_each += holds and independent == 2000
    assert covered >= 53
    assert by_each <= 45
