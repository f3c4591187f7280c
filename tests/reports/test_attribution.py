"""Causes: scored against runs whose tail has a known one, and the parts that this rests on."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from abatch.engine.loop.step_log import StepRecord
from abatch.engine.null_server.behaviour import Behaviour
from abatch.reports.attribution.attribution import attribute
from abatch.reports.attribution.size import tell_uneven_work
from abatch.reports.attribution.stalls import LongGap, find_stalls
from abatch.reports.attribution.tail_events import MOST_EXAMINED, TailSample
from abatch.reports.recording.latency_trend import LatencyTrend
from abatch.reports.statistics.interval import Interval
from abatch.reports.summary.causes import ADVICE, BECAUSE, Attribution, Cause, TailCauses
from abatch.reports.summary.finding import Label
from abatch.reports.summary.findings import findings
from abatch.reports.summary.state import State
from abatch.workloads.result import Result
from abatch.workloads.watching.client_audit import Lapse
from support.injections import injections, null_run, summarised
from support.results import make_result
from support.run_profile import IS_NIGHTLY

pytestmark = pytest.mark.xdist_group("attribution")  # what is made once for them all is made in one worker

_TARGET = 0.9


@pytest.fixture(scope="module")
def confusion(tmp_path_factory: pytest.TempPathFactory) -> Counter[tuple[Cause, Cause]]:
    """(true, found) over all injections, each of them counting the same: one with many events must not hide another."""
    counts: Counter[tuple[Cause, Cause]] = Counter()
    folder: Path = tmp_path_factory.mktemp("injections")
    for name, injection in injections(folder, is_short=not IS_NIGHTLY):
        judged = Counter(injection.judged())
        assert judged.total() >= 5, f"{name} has no tail"
        for pair, count in judged.items():
            counts[pair] += round(1000 * count / judged.total())
    return counts


@pytest.fixture(scope="module")
def frozen() -> list[Result]:
    """Results against a server that freezes after 15 s, for 2 s."""
    return null_run(Behaviour(freeze_at_s=15.0, freeze_for_s=2.0))


_SCORED = (
    Cause.CLIENT,
    Cause.SIZE,
    Cause.COLD_PREFIX,
    Cause.PREFILL,
    Cause.STALL,
    Cause.STATIC_BATCH,
    Cause.QUEUEING,
    Cause.PREEMPTION,
    Cause.SINGLE,
    Cause.COALESCING,
)
"""Causes of single events. The others are scored by what is said: `test_told_causes`."""


@pytest.mark.parametrize("cause", _SCORED)
def test_each_cause_is_found_and_no_other_is_taken_for_it(
    cause: Cause, confusion: Counter[tuple[Cause, Cause]]
) -> None:
    hits = confusion[cause, cause]
    true = sum(count for (actual, _), count in confusion.items() if actual is cause)
    found = sum(count for (_, said), count in confusion.items() if said is cause)
    assert hits >= _TARGET * true > 0, f"recall {hits / true:.2f}"
    assert hits >= _TARGET * found, f"precision {hits / found:.2f}"


def test_every_cause_has_advice() -> None:
    assert set(ADVICE) == set(BECAUSE) == set(Cause)


def _attribute(results: list[Result], lapses: list[Lapse] | None = None) -> Attribution:
    return attribute(lambda: results, summarised(results, lapses))


def test_a_freeze_is_one_event_with_its_time_length_and_whom_it_hit(frozen: list[Result]) -> None:
    found = _attribute(frozen)
    (stall,) = found.stalls
    assert (stall.start_s, stall.length_s) == pytest.approx((15.0, 2.0), abs=0.02)
    during = [result for result in frozen if 15.0 <= result.due_s < 16.0]
    assert len(during) <= stall.waiting <= len(during) + 2
    streaming = [result for result in frozen if result.first_s and result.first_s < 15.0 < result.end_s]
    assert stall.streams == len(streaming)
    assert stall.cause is Cause.STALL
    assert found.causes["ttft"].likely == [Cause.STALL]
    assert found.advice == [f"{Cause.STALL}: {ADVICE[Cause.STALL]}"]


def test_the_same_moment_is_the_clients_where_the_client_stood_still(frozen: list[Result]) -> None:
    found = _attribute(frozen, [Lapse(2.0, 15.0)])
    assert [stall.cause for stall in found.stalls] == [Cause.CLIENT]
    assert found.causes["ttft"].likely == [Cause.CLIENT]


def test_two_freezes_are_two_events_the_longer_one_first() -> None:
    gaps = [(5.0 + shift, 5.5 + shift) for shift in (0.0, 0.004, 0.009)]
    gaps += [(5.48, 7.0), (5.49, 7.0), (5.495, 7.01), (9.0, 9.4), (9.1, 9.5)]
    stalls = find_stalls(LongGap(*gap) for gap in gaps)
    assert [(stall.streams, stall.length_s) for stall in stalls] == [(3, 1.515), (3, 0.5)]


def test_a_cause_that_fits_ordinary_waits_as_well_is_not_named() -> None:
    """A request waits ahead at every moment, and makes way 200 ms later: that explains nothing."""
    results = []
    for number in range(400):
        ttft_ms, due_s = 200.0 if number % 20 == 0 else 10.0, number * 0.1
        streaming = (5.0,) * 100
        results.append(
            make_result(ttft_ms, gaps_ms=streaming, due_s=due_s, session_id=f"s{number}", prompt_tokens=None)
        )
        # It ends just before the slow ones begin.
        other = make_result(244.0, due_s=due_s - 0.05, session_id=f"long{number}", prompt_tokens=None)
        results.append(msgspec.structs.replace(other, traffic_class="other"))
    summary = summarised(results)
    summary.verdict_class = "chat"
    causes = attribute(lambda: results, summary).causes["ttft"]
    assert causes.events == 20
    (queueing,) = [share for share in causes.causes if share.cause is Cause.QUEUEING]
    assert queueing.share > 0.9
    assert queueing.base_rate > 0.9
    assert causes.likely == []


def test_the_worst_class_besides_the_verdicts_gets_its_causes_too(frozen: list[Result]) -> None:
    results = [
        msgspec.structs.replace(result, traffic_class=("chat", "agent")[number % 2])
        for number, result in enumerate(frozen)
    ]
    summary = summarised(results)
    summary.verdict_class = "chat"
    summary.metrics["ttft"]["agent"].verdict = State.FLAGGED
    summary.attribution = found = attribute(lambda: results, summary)
    assert found.worst_class == "agent"
    assert found.worst_causes["ttft"].likely == [Cause.STALL]
    said = {(finding.label, finding.traffic_class, finding.cause) for finding in findings(summary)}
    assert (Label.CAUSE, "agent", Cause.STALL) in said
    assert (Label.ADVICE, None, Cause.STALL) in said


def test_a_few_slow_ones_are_accidents_and_not_explained() -> None:
    results = [
        make_result(200.0 if number < 5 else 10.0, due_s=number * 0.1, session_id=str(number)) for number in range(400)
    ]
    assert _attribute(results).causes == {}


def test_a_long_tail_is_sampled_fairly_and_counted_whole() -> None:
    count = 5 * MOST_EXAMINED
    results = [
        make_result(gaps_ms=(5.0,) * 20 + (50.0,), due_s=number * 0.1, session_id=str(number))
        for number in range(count)
    ]
    sample = TailSample(summarised(results))
    for result in results:
        sample.add(result, 0, 20)
    assert sample.num_gaps == count
    gaps = [event for event in sample.events() if event.is_gap and not event.is_control]
    assert len(gaps) == MOST_EXAMINED
    early = sum(1 for event in gaps if event.start_s < count * 0.05)
    assert 0.35 < early / len(gaps) < 0.65


def test_nothing_measured_is_nothing_found() -> None:
    assert attribute(list, summarised([make_result(error="timeout")])) == Attribution()


def _step(number: int, start_s: float, length_s: float, prefill: int = 0) -> StepRecord:
    end_s = start_s + length_s
    return StepRecord(
        step=number,
        planned_s=start_s,
        launched_s=start_s,
        device_start_s=start_s,
        device_end_s=end_s,
        collected_s=end_s,
        committed_s=end_s,
        num_decode_tokens=4,
        num_prefill_tokens=prefill,
        num_seqs=4,
        num_waiting=0,
        num_preempted=0,
        num_blocks_held=0,
    )


@pytest.mark.parametrize(
    ("middle", "cause"),
    [
        ([_step(10, 0.1, 0.05, prefill=500)], Cause.PREFILL),
        ([_step(10, 0.1, 0.05)], Cause.STALL),
        ([_step(10 + number, 0.1 + number * 0.01, 0.01) for number in range(5)], Cause.PREEMPTION),
    ],
)
def test_with_a_step_log_the_step_says_what_a_gap_was(middle: list[StepRecord], cause: Cause) -> None:
    """Times of the log are those of another clock, that showed 1000 when the run began."""
    before = [_step(number, number * 0.01, 0.01) for number in range(10)]
    after = [_step(20 + number, 0.15 + number * 0.01, 0.01) for number in range(10)]
    steps = []
    for step in [*before, *middle, *after]:
        times = {name: getattr(step, name) + 1000.0 for name in StepRecord.__struct_fields__ if name.endswith("_s")}
        steps.append(msgspec.structs.replace(step, **times))
    gaps_ms = (10.0,) * 9 + (50.0,) + (10.0,) * 9
    results = [make_result(10.0, gaps_ms=gaps_ms, session_id=str(number)) for number in range(12)]
    causes = attribute(lambda: results, summarised(results), steps, 1000.0).causes["itl"]
    assert causes.exact == causes.examined == 12
    assert [share.cause for share in causes.causes] == [cause]


@pytest.mark.parametrize(
    ("likely", "high", "is_steady", "is_explained"),
    [
        ([], 2.9, True, True),
        ([Cause.SIZE], 2.9, True, True),
        ([Cause.COLD_PREFIX], 2.9, True, False),
        ([], 3.1, True, False),
        ([], math.inf, True, False),
        ([], 2.9, False, False),
    ],
)
def test_sizes_explain_a_tail_only_where_nothing_else_does(
    likely: list[Cause],
    high: float,
    is_steady: bool,
    is_explained: bool,
    frozen: list[Result],
) -> None:
    """What is fitted to a run that drifts, or drops contexts, would excuse the server for it."""
    summary = summarised(frozen)
    ttft = summary.metrics["ttft"]["all"]
    ttft.verdict, ttft.normalised_ratio = State.FLAGGED, 1.5
    ttft.normalised_interval = Interval(low=1.2, high=high)
    if not is_steady:
        summary.trend = LatencyTrend(metric="ttft", percentile=50, first_ms=10, last_ms=40, correlation=0.9)
    causes = TailCauses(threshold_ms=1.0, events=20, examined=20, likely=likely)
    summary.attribution = Attribution(causes={"ttft": causes})
    tell_uneven_work(summary)
    assert ttft.verdict is (State.UNEVEN_WORK if is_explained else State.FLAGGED)
    assert summary.metrics["e2e"]["all"].verdict is not State.UNEVEN_WORK
