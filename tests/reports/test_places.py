"""Waiting for one of the places of --max-in-flight: the load's doing, never the client's, and part of the latency."""

from __future__ import annotations

import pytest
from abatch.cli.options.traffic import TrafficOptions
from abatch.engine.null_server.behaviour import Behaviour
from abatch.reports.gates.judge import Outcome
from abatch.reports.renderings.facts import facts
from abatch.reports.summary.doubts import client_problems, doubts, doubts_of_comparison
from abatch.reports.summary.finding import Label
from abatch.reports.summary.summary import Summary
from support.injections import null_run, summarised
from support.results import make_result
from support.rules import judged


def _run(max_in_flight: int, drain_s: float = 30.0) -> Summary:
    """Requests of 0.1 s each, 50 of them a second: five at once keep up."""
    traffic = TrafficOptions(
        workload="chat-short",
        turns=1,
        output_len=6,
        request_rate=50.0,
        duration_s=20.0,
        warmup_s=0.0,
        max_in_flight=max_in_flight,
        drain_s=drain_s,
    )
    return summarised(null_run(Behaviour(ttft_s=0.05, itl_s=0.01), traffic))


def test_a_limit_on_requests_in_flight_does_not_accuse_the_client() -> None:
    """Every third request was "sent late", so each of its own runs was NOT TRUSTED."""
    summary = _run(8)
    assert summary.held_requests > 0.05 * summary.requests
    assert summary.held_mean_ms > 1.0
    assert (summary.late_arrivals, summary.dropped_arrivals) == (0, 0)
    assert summary.metrics["start_delay"]["all"].max_ms < 0.01
    assert doubts(summary) == []
    assert judged("ttft.p50 < 10s", summary).outcome is Outcome.PASS
    (words,) = (fact.words for fact in facts(summary) if getattr(fact, "label", "") == "places")
    assert words.startswith(f"{summary.held_requests} requests of {summary.requests:,} waited for one of the --max-in-")


def test_latency_counts_from_when_it_was_due_all_the_same() -> None:
    assert _run(4).metrics["ttft"]["all"].max_ms > 1000


def test_arrivals_that_never_got_a_place_are_the_loads_doing() -> None:
    summary = _run(2, drain_s=1.0)
    assert summary.unplaced_arrivals == summary.dropped_arrivals > 0.3 * summary.requests
    assert client_problems(summary) == []
    found = [doubt.label for doubt in doubts(summary)]
    assert found[0] is Label.OVERLOADED
    assert Label.NOT_TRUSTED not in found
    assert [doubt.label for doubt in doubts_of_comparison(summary)][:1] == [Label.OVERLOADED], "they are lower bounds"
    assert judged("ttft.p99 < 100s", summary).outcome is Outcome.INCONCLUSIVE
    assert judged("achieved_rate >= 40", summary).outcome is Outcome.FAIL, "rates are judged"


@pytest.mark.parametrize(("sent_s", "late"), [(0.5, False), (0.52, True)])
def test_what_the_client_is_late_by_besides_is_still_its_own(sent_s: float, *, late: bool) -> None:
    results = [make_result(600.0, due_s=number, sent_s=number + sent_s, waited_s=0.5) for number in range(100)]
    summary = summarised(results)
    assert (summary.late_arrivals == 100) is late
    assert bool(client_problems(summary)) is late
