"""A closed loop hides freezes and a run's end hides death: time shows both."""

from __future__ import annotations

import pickle
from collections.abc import Sequence

import pytest
from abatch.cli.options.traffic import TrafficOptions
from abatch.engine.null_server.behaviour import Behaviour
from abatch.reports.gates.judge import Outcome
from abatch.reports.recording.silences import Receipts, Silence
from abatch.reports.run.config import RunConfig
from abatch.reports.summary.finding import Label
from abatch.reports.summary.findings import findings
from abatch.reports.summary.summary import Summary, fill_summary
from abatch.workloads.result import Result
from support.injections import null_run
from support.results import make_result
from support.rules import judged

_BEHAVIOUR = Behaviour(ttft_s=0.05, itl_s=0.01, freeze_at_s=15.0, freeze_for_s=12.0)
_HEALTHY = Behaviour(ttft_s=0.05, itl_s=0.01)


def _traffic(**options: object) -> TrafficOptions:
    values = {"workload": "chat-short", "turns": 1, "output_len": 20, "duration_s": 34.0, "warmup_s": 0.0}
    return TrafficOptions(**(values | options))  # type: ignore[arg-type]


def _summary(results: Sequence[Result], duration_s: float = 34.0, *, closed_loop: bool = True) -> Summary:
    config = RunConfig(duration_s=duration_s, closed_loop=closed_loop)
    recorder = config.new_recorder()
    for result in results:
        recorder.add(result)
    return fill_summary(config.new_summary(), recorder, duration_s)


@pytest.fixture(scope="module")
def frozen() -> Summary:
    """Eight sessions at a server that is frozen for 12 of 34 s."""
    return _summary(null_run(_BEHAVIOUR, _traffic(concurrency=8)))


def test_a_freeze_in_a_closed_loop_is_seen(frozen: Summary) -> None:
    ttft = frozen.metrics["ttft"]["all"]
    assert ttft.tail_ratio < 3, "the trap: eight slow requests among hundreds"
    assert frozen.silence is not None
    assert frozen.silence.count == 1
    assert frozen.silence.longest_s == pytest.approx(12.0, abs=0.1)
    assert frozen.silence.longest_at_s == pytest.approx(15.0, abs=0.1)
    assert frozen.silence.in_flight == 8
    first = findings(frozen)[0]
    assert first.label is Label.FLAGGED
    assert "sent nothing for 12 s of 34 s" in first.words
    assert "A closed loop sends nothing meanwhile" in first.words


def test_rules_on_percentiles_do_not_pass_then(frozen: Summary) -> None:
    assert judged("ttft.p99/p50 <= 3", frozen).outcome is Outcome.INCONCLUSIVE
    assert judged("e2e.p99 < 1s", frozen).outcome is Outcome.INCONCLUSIVE
    assert judged("errors < 1%", frozen).outcome is Outcome.PASS


def test_an_open_loop_counts_a_freeze_in_its_percentiles() -> None:
    summary = _summary(null_run(_BEHAVIOUR, _traffic(request_rate=20.0)), closed_loop=False)
    assert summary.silence is not None
    assert findings(summary)[0].label is Label.BORDERLINE, "one event, and it is in the percentiles"
    assert summary.metrics["ttft"]["all"].p99_ms > 10_000
    assert "closed loop" not in findings(summary)[0].words


@pytest.mark.parametrize(
    "traffic",
    [
        _traffic(concurrency=8),
        _traffic(concurrency=1),
        _traffic(request_rate=20.0),
        _traffic(request_rate=20.0, drain_s=0.0),
        _traffic(concurrency=8, drain_s=0.0),
        _traffic(concurrency=2, drain_s=0.0, input_len=2000),
    ],
    ids=["closed", "alone", "open", "open without drain", "closed without drain", "long prompts without drain"],
)
def test_a_healthy_server_is_not_silent(traffic: TrafficOptions) -> None:
    behaviour = Behaviour(ttft_s=0.05, itl_s=0.01, prefill_tokens_per_s=1000.0)
    assert _summary(null_run(behaviour, traffic)).silence is None


def test_a_server_that_died_just_before_the_end_is_not_ok() -> None:
    """For 0.3 s, without a drain: the requests cut off then have waited for less than a usual one takes."""
    died = Behaviour(ttft_s=0.05, itl_s=0.01, freeze_at_s=49.7, freeze_for_s=1000.0)
    traffic = _traffic(request_rate=40.0, duration_s=50.0, drain_s=0.0)
    summary = _summary(null_run(died, traffic), 50.0, closed_loop=False)
    assert summary.silence is not None
    assert summary.silence.to_end_s == pytest.approx(0.3, abs=0.06)
    first = findings(summary)[0]
    assert first.label is Label.FLAGGED
    assert "sent nothing in the last" in first.words
    assert judged("ttft.p50 < 1s", summary).outcome is Outcome.INCONCLUSIVE
    alive = _summary(null_run(_HEALTHY, traffic), 50.0, closed_loop=False)
    assert alive.silence is None
    assert alive.censored > 0, "cut off, and not for silence"


def _receipts(results: Sequence[Result]) -> Receipts:
    receipts = Receipts()
    for result in results:
        receipts.add(result)
    return receipts


_SPARSE = [
    make_result(20.0, gaps_ms=(300.0, 10.0), due_s=1.0),
    make_result(50.0, gaps_ms=(10.0,) * 5, due_s=3.0),
    make_result(50.0, due_s=4.0, error="timeout", end_s=5.0, first_s=None, gaps_us=[]),
    make_result(50.0, due_s=4.5, sent_s=None, end_s=9.0, first_s=None, gaps_us=[]),
]


def test_silences_are_where_somebody_waits_and_nothing_comes() -> None:
    found = _receipts(_SPARSE).silences()
    assert [(round(one.start_s, 1), round(one.length_s, 1)) for one in found] == [
        (1.0, 0.0), (1.0, 0.3), (3.0, 0.0), (4.0, 1.0),
    ]  # fmt: skip
    assert found[-1].is_last


def test_several_processes_see_silence_only_where_all_do() -> None:
    busy = [make_result(10.0, gaps_ms=(50.0,) * 200, due_s=0.0)]
    merged = _receipts(_SPARSE)
    merged.merge(pickle.loads(pickle.dumps(_receipts(busy))))
    assert merged.silences() == _receipts([*busy, *_SPARSE]).silences()
    assert max((one.length_s for one in merged.silences()), default=0.0) < 0.1


def test_a_long_run_takes_no_more_memory() -> None:
    hours = [make_result(50.0, gaps_ms=(10.0,) * 5, due_s=float(at_s)) for at_s in range(0, 20_000, 10)]
    hours.append(make_result(0.0, gaps_ms=(5e5,), due_s=12_345.0))
    receipts = _receipts(hours)
    assert len(receipts._received) <= 16_384
    longest = max(receipts.silences(), key=lambda one: one.length_s)
    assert isinstance(longest, Silence)
    assert longest.length_s == pytest.approx(10.0, abs=3.0), "others received something every ten seconds"


def _closed(*slow: Result) -> Summary:
    """Short answers for ten seconds, then these."""
    usual = [make_result(50.0, due_s=at_s / 10, session_id=str(at_s)) for at_s in range(100)]
    return _summary([*usual, *slow], 20.0)


def test_sessions_that_walk_into_a_freeze_one_by_one_are_seen() -> None:
    """When it begins only one of them waits, and all of them do before it is over."""
    frozen = _closed(*(make_result(3000.0 - 200 * one, due_s=10.0 + one / 5) for one in range(8)))
    assert frozen.silence is not None
    assert frozen.silence.longest_s == pytest.approx(2.8, abs=0.1), "without the part in which one waited alone"
    assert frozen.silence.in_flight == 8
    assert findings(frozen)[0].label is Label.FLAGGED


def test_what_is_silent_after_the_last_request_was_sent_hides_nothing() -> None:
    """Some long answers outlast the run: while they are drained nothing would have been sent anyway."""
    drained = _closed(*(make_result(4000.0, due_s=19.5, session_id=str(one)) for one in range(4)))
    assert drained.silence is None
    assert _closed(*(make_result(4000.0, due_s=15.0) for _ in range(4))).silence is not None
