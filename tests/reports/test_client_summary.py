"""The client's account of itself, and what it makes of verdicts and rules."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest
from abatch.reports.gates.judge import Outcome
from abatch.reports.recording.recorder import Recorder
from abatch.reports.renderings.console import print_summary
from abatch.reports.summary.client import ClientSummary, client_doubts, lag_doubt, summarise_client
from abatch.reports.summary.summary import Summary, fill_summary, share_failed
from abatch.workloads.targets.client_limit import CLIENT_LIMIT
from abatch.workloads.watching.client_audit import ClientAudit, Lapse
from rich.console import Console
from support.results import make_result
from support.rules import judged


def _client(**fields: Any) -> ClientSummary:
    quiet: dict[str, Any] = {
        "lag_p50_ms": 0.1,
        "lag_p99_ms": 0.5,
        "lag_p999_ms": 1.0,
        "lag_max_ms": 1.0,
        "gc_pauses": 1,
        "gc_share": 0.001,
        "gc_longest_ms": 1.0,
        "cpu_share": 0.2,
    }
    return ClientSummary(**(quiet | fields))


def _summary(client: ClientSummary | None) -> Summary:
    """400 requests: gaps of 5 ms, ttft of 10 ms, answers of 110 ms."""
    recorder = Recorder()
    for number in range(400):
        recorder.add(make_result(10.0, gaps_ms=(5.0,) * 20, due_s=number * 0.1, session_id=str(number)))
    summary = fill_summary(Summary(), recorder, 40.0)
    summary.client = client
    return summary


def _shown(summary: Summary) -> str:
    console = Console(width=200, record=True, quiet=True, highlight=False)
    with console.capture() as captured:
        quiet, console.quiet = console.quiet, False
        print_summary(console, summary)
        console.quiet = quiet
    return captured.get()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"cpu_share": 0.95}, "95% of one core"),
        ({"gc_share": 0.05}, "5.0% of the time in garbage collection"),
    ],
)
def test_a_client_that_was_busy_is_not_trusted_and_says_what_to_do(fields: dict[str, float], says: str) -> None:
    assert client_doubts(_client()) == []
    (doubt,) = client_doubts(_client(**fields))
    assert says in doubt.words
    assert "--workers" in doubt.words
    summary = _summary(_client(**fields))
    assert judged("ttft.p99 < 1s", summary).outcome is Outcome.INCONCLUSIVE
    assert f"NOT TRUSTED: {doubt.words}" in _shown(summary)
    assert "OK:" not in _shown(summary)


@pytest.mark.parametrize(
    ("lag_ms", "p99_ms", "is_doubtful"),
    [(1.9, 2.0, False), (2.1, 8.0, True), (2.1, 8.5, False), (30.0, 119.0, True), (30.0, 121.0, False)],
)
def test_lag_counts_where_it_is_a_large_part_of_what_was_measured(
    lag_ms: float, p99_ms: float, is_doubtful: bool
) -> None:
    measured = msgspec.structs.replace(_summary(None).metrics["itl"]["all"], p99_ms=p99_ms)
    assert (lag_doubt(_client(lag_p99_ms=lag_ms), "itl", "all", measured) is not None) is is_doubtful


@pytest.mark.parametrize(
    ("rule", "outcome"),
    [
        ("itl.p99/p50 <= 3", Outcome.INCONCLUSIVE),
        ("e2e.p99/p50 <= 3", Outcome.PASS),
        ("itl.p99 < 6ms", Outcome.PASS),
        ("itl.p99 < 4ms", Outcome.INCONCLUSIVE),
        ("itl.p99 < 1ms", Outcome.FAIL),
        ("itl.p99 > 4ms", Outcome.INCONCLUSIVE),
    ],
    ids=["ratio", "large metric", "holds with the lag", "might without it", "fails without it too", "lower bound"],
)
def test_a_lag_voids_what_it_may_have_decided(rule: str, outcome: Outcome) -> None:
    assert judged(rule, _summary(_client(lag_p99_ms=2.5))).outcome is outcome


def test_a_lag_is_said_of_the_metrics_that_it_spoils() -> None:
    lines = _shown(_summary(_client(lag_p99_ms=2.5))).splitlines()
    named = [line.split(": ")[1] for line in lines if line.startswith("NOT TRUSTED")]
    assert named == ["itl", "max_gap"]


def test_in_virtual_time_there_is_no_client_to_doubt() -> None:
    shown = _shown(_summary(None))
    assert shown.startswith("OK:")
    assert "client: lag" not in shown


def _failing(errors: dict[str, int], client: ClientSummary | None = None) -> Summary:
    """A thousand requests, of which so many failed of each class, here and there."""
    recorder = Recorder()
    kinds: list[str | None] = [kind for kind, count in errors.items() for _ in range(count)]
    kinds += [None] * (1000 - len(kinds))
    Random(0).shuffle(kinds)
    for number, error in enumerate(kinds):
        message = "too many open files (limit 64)" if error == CLIENT_LIMIT else None
        recorder.add(make_result(due_s=number * 0.1, session_id=str(number), error=error, error_message=message))
    summary = fill_summary(Summary(), recorder, 100.0)
    summary.client = client
    return summary


def test_a_limit_of_the_client_is_no_failure_of_the_server() -> None:
    """64 descriptors and 150 streams failed the rule on errors as if the server had refused them."""
    summary = _failing({CLIENT_LIMIT: 400})
    assert share_failed(summary) == 0.0
    lines = _shown(summary).splitlines()
    limit = "40% of the requests met a limit of the client, not of the server: too many open files (limit 64)"
    assert lines[0] == f"NOT TRUSTED: {limit}"
    assert not [line for line in lines if line.startswith("ERRORS")]
    for rule in ("errors < 1%", "ttft.p99 < 1s", "achieved_rate >= 9"):
        judgement = judged(rule, summary)
        assert judgement.outcome is Outcome.INCONCLUSIVE
        assert limit in judgement.reason
    assert judged("errors < 1%", _failing({CLIENT_LIMIT: 400, "http_500": 200})).outcome is Outcome.FAIL
    assert judged("errors < 1%", _failing({"http_500": 400})).outcome is Outcome.FAIL


@pytest.mark.parametrize("kind", ["http_500", "connect", "disconnected", "timeout", "bad_response", "empty"])
def test_a_server_that_answers_nothing_has_no_verdict_and_fails_the_rule_on_errors(kind: str) -> None:
    summary = _failing({kind: 1000})
    lines = _shown(summary).splitlines()
    assert lines[0] == "NO VERDICT: no request succeeded"
    assert lines[1].startswith("ERRORS: 100% of the requests failed (1,000 of 1,000): ")
    assert not [line for line in lines if line.startswith("OK")]
    assert judged("errors < 1%", summary).outcome is Outcome.FAIL
    assert judged("ttft.p99 < 1s", summary).outcome is Outcome.INCONCLUSIVE
    assert judged("goodput > 1%", summary).outcome is Outcome.INCONCLUSIVE


def test_a_few_that_met_a_limit_change_nothing_that_is_clear() -> None:
    few = _failing({CLIENT_LIMIT: 5})
    assert judged("errors < 2%", few).outcome is Outcome.PASS
    assert judged("errors < 0.5%", few).outcome is Outcome.INCONCLUSIVE
    assert not _shown(few).startswith("NOT TRUSTED")


def test_a_run_in_which_every_request_met_a_limit_says_so() -> None:
    shown = _shown(_failing({CLIENT_LIMIT: 1000}))
    assert shown.startswith("NO VERDICT: no request succeeded; 100% of the requests met a limit of the client")


@pytest.mark.parametrize(
    ("client", "outcome"),
    [
        (_client(), Outcome.FAIL),
        (_client(lag_max_ms=30.0), Outcome.FAIL),
        (_client(lag_max_ms=5000.0), Outcome.INCONCLUSIVE),
        (_client(cpu_share=0.99), Outcome.INCONCLUSIVE),
    ],
)
def test_what_timed_out_while_the_client_was_behind_is_nobodys(client: ClientSummary, outcome: Outcome) -> None:
    judgement = judged("errors < 1%", _failing({"timeout": 40}, client))
    assert judgement.outcome is outcome
    if outcome is Outcome.INCONCLUSIVE:
        assert "4.0% timed out while the client itself was behind" in judgement.reason
    assert judged("errors < 1%", _failing({"http_500": 40}, client)).outcome is Outcome.FAIL, "that is the server's"
    assert judged("errors < 6%", _failing({"timeout": 40}, client)).outcome is Outcome.PASS, "even with them"


def test_an_audit_becomes_percentiles() -> None:
    audit = ClientAudit(
        beats_us={100: 990, 20_000: 10},
        lapses=[Lapse(0.02, float(number)) for number in range(150)],
        gc_pauses=3,
        gc_total_s=0.1,
        gc_longest_s=0.05,
        cpu_s=2.0,
        elapsed_s=10.0,
    )
    client = summarise_client(audit, workers=2)
    assert client is not None
    assert client.lag_p50_ms == pytest.approx(0.1)
    assert client.lag_max_ms == pytest.approx(20.0, rel=0.01)
    assert (client.gc_share, client.gc_longest_ms, client.cpu_share, client.workers) == (0.01, 50.0, 0.2, 2)
    assert len(client.lapses) == 100


def test_a_watch_that_saw_nothing_says_nothing() -> None:
    assert summarise_client(ClientAudit()) is None
