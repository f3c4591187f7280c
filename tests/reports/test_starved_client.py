"""A client that other processes keep from its processor: its lateness is never called the server's tail."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from abatch.engine.null_server.behaviour import Behaviour
from abatch.reports.attribution.attribution import attribute
from abatch.reports.gates.judge import Outcome
from abatch.reports.recording.recorder import Recorder
from abatch.reports.renderings.facts import client_facts
from abatch.reports.summary.causes import Cause
from abatch.reports.summary.client import ClientSummary, client_doubts, summarise_client
from abatch.reports.summary.finding import Finding, Label
from abatch.reports.summary.findings import findings
from abatch.reports.summary.summary import Summary, fill_summary
from abatch.workloads.watching.client_audit import ClientAudit, Lapse, merge_audits
from abatch.workloads.watching.client_watch import ClientWatch
from abatch.workloads.watching.run_queue import waited_for_processor_s
from support.injections import lapsed, null_run, read_late, summarised
from support.results import make_result
from support.rules import judged


def _tailed(slow_ms: float, *, share: float = 0.03, gap_ms: float = 10.0) -> Summary:
    """4,000 requests of 50 ms and 16 gaps, of which a share has a ttft, and one gap, of `slow_ms`."""
    random, recorder = Random(0), Recorder()
    for number in range(4000):
        is_slow = random.random() < share
        gaps_ms = [gap_ms * random.uniform(0.95, 1.05) for _ in range(16)]
        if is_slow:
            gaps_ms[8] = slow_ms
        ttft_ms = slow_ms if is_slow else 50.0 * random.uniform(0.95, 1.05)
        recorder.add(make_result(ttft_ms, gaps_ms=tuple(gaps_ms), due_s=number / 40, session_id=str(number)))
    return fill_summary(Summary(), recorder, 100.0)


def _lagging(**fields: float) -> ClientSummary:
    return msgspec.structs.replace(lapsed([]), **fields)


def _first(summary: Summary) -> Finding:
    return findings(summary)[0]


def test_a_tail_that_is_there_without_the_lag_stays_flagged() -> None:
    """Twice the median on top of it, beside a calm client, and beside one that lags by a part of that."""
    summary = _tailed(200.0)
    for lag_ms in (0.3, 2.5, 20.0):
        summary.client = _lagging(lag_p99_ms=lag_ms, lag_p999_ms=lag_ms)
        ttft = [found.label for found in findings(summary) if found.metric == "ttft"]
        assert ttft == [Label.FLAGGED]
        assert judged("ttft.p99 < 150ms", summary).outcome is Outcome.FAIL
    summary.client = _lagging(lag_p99_ms=0.3)
    assert _first(summary).label is Label.FLAGGED


def test_a_tail_that_the_lag_alone_lifts_above_three_medians_is_not_trusted() -> None:
    """Of 155 ms, 37 are less than a quarter: the metric was trusted, and FLAGGED."""
    summary = _tailed(155.0)
    summary.client = _lagging(lag_p99_ms=37.0, lag_p999_ms=37.0)
    of_ttft = [found for found in findings(summary) if found.metric == "ttft"]
    assert [found.label for found in of_ttft] == [Label.NOT_TRUSTED, Label.FLAGGED]
    assert "up to 37.0 ms, without which p99 may be less than 3x the median" in of_ttft[0].words
    assert _first(summary).label is Label.NOT_TRUSTED
    assert judged("ttft.p99/p50 <= 3", summary).outcome is Outcome.INCONCLUSIVE


def test_the_longest_of_many_gaps_meets_the_rarest_lags() -> None:
    """A p99 of the lag says little: of 16 gaps each, one request in six has one above it."""
    summary = _tailed(40.0)
    summary.client = _lagging(lag_p99_ms=2.5, lag_p999_ms=12.0)
    (doubt, *_) = [found for found in findings(summary) if found.metric == "max_gap"]
    assert doubt.label is Label.NOT_TRUSTED
    summary.client = _lagging(lag_p99_ms=2.5, lag_p999_ms=3.0)
    assert [found.label for found in findings(summary) if found.metric == "max_gap"] == [Label.FLAGGED]


_LAPSES = [Lapse(0.3, 5.0), Lapse(1.0, 12.0), Lapse(0.4, 20.0), Lapse(0.5, 31.0)]


@pytest.fixture(scope="module")
def blocked() -> Summary:
    """A steady server as a client saw it that stood still four times, too seldom for the p99 of its lag."""
    late = read_late(null_run(Behaviour(jitter=0.1)), _LAPSES)
    summary = summarised(late, _LAPSES)
    summary.attribution = attribute(lambda: late, summary)
    return summary


def test_slow_moments_that_are_the_clients_own_are_not_the_servers(blocked: Summary) -> None:
    assert blocked.client is not None
    assert blocked.client.lag_p99_ms < 2, "so that nothing else tells"
    found = findings(blocked)
    assert found[0].label is Label.NOT_TRUSTED
    assert "its slow moments are the client's own" in found[0].words
    assert found[0].metric is not None
    p99_ms = blocked.metrics[found[0].metric]["all"].p99_ms
    below, above = (judged(f"{found[0].metric}.p99 < {p99_ms * by:.0f}ms", blocked) for by in (0.5, 2))
    assert below.outcome is Outcome.INCONCLUSIVE
    assert "client's own" in below.reason
    assert "client's own" not in above.reason, "it holds even with them"


def test_slow_moments_of_the_servers_own_beside_those_stay_flagged(blocked: Summary) -> None:
    attribution = blocked.attribution
    assert attribution is not None
    causes = {
        wait: msgspec.structs.replace(
            of_wait, causes=[msgspec.structs.replace(one, share=0.3 * one.share) for one in of_wait.causes]
        )
        for wait, of_wait in attribution.causes.items()
    }
    summary = msgspec.structs.replace(blocked, attribution=msgspec.structs.replace(attribution, causes=causes))
    assert any(Cause.CLIENT in one.likely for one in causes.values())
    assert _first(summary).label is Label.FLAGGED


def test_a_client_that_waited_for_most_of_the_time_has_measured_nothing() -> None:
    summary = _tailed(500.0)
    summary.client = _lagging(wait_share=0.64)
    assert _first(summary).label is Label.NOT_TRUSTED
    assert "other processes kept it waiting for a processor for 64% of the time" in _first(summary).words
    for rule in ("ttft.p99 < 100ms", "ttft.p99 < 2s", "ttft.p99/p50 <= 3"):
        assert judged(rule, summary).outcome is Outcome.INCONCLUSIVE
    assert client_doubts(_lagging(wait_share=0.3)) == []


def test_why_the_client_lags_is_said_where_it_is_known() -> None:
    summary = _tailed(40.0)
    for share, says in ((0.2, "kept it waiting for a processor for 20%"), (0.01, "raise --workers")):
        summary.client = _lagging(lag_p99_ms=20.0, wait_share=share)
        assert says in _first(summary).words
    summary.late_arrivals = 1000
    summary.client = _lagging(wait_share=0.2)
    assert _first(summary).words.endswith("for 20% of the time")
    assert "for 20% of the time" in client_facts(summary.client)
    assert "waiting" not in client_facts(_lagging())


def _audit(**fields: Any) -> ClientAudit:
    values: dict[str, Any] = {"beats_us": {100: 10}, "cpu_s": 1.0, "elapsed_s": 10.0}
    return ClientAudit(**(values | fields))


def test_the_kernels_account_is_read_where_there_is_one(tmp_path: Path) -> None:
    account = tmp_path / "schedstat"
    assert waited_for_processor_s(account) is None
    account.write_text("543217 2500000000 12\n")
    assert waited_for_processor_s(account) == 2.5
    for damaged in ("", "1", "a b c"):
        account.write_text(damaged)
        assert waited_for_processor_s(account) is None


def test_of_several_processes_the_one_that_waited_the_most_counts() -> None:
    audits = [_audit(waited_s=1.0), _audit(waited_s=3.0, elapsed_s=20.0, cpu_s=8.0), _audit()]
    merged = merge_audits(audits)
    assert merged.wait_share == pytest.approx(0.15)
    client = summarise_client(merged)
    assert client is not None
    assert client.wait_share == 0.15
    assert merge_audits([_audit()]).wait_share is None


async def test_a_watch_takes_the_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = iter([5.0, 5.75])
    monkeypatch.setattr("abatch.workloads.watching.client_watch.waited_for_processor_s", lambda: next(waits))
    watch = ClientWatch()
    await watch.run(0.0, 0.03, 0.0)
    assert watch.audit().waited_s == 0.75
