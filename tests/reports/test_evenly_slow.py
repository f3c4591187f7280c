"""EVENLY SLOW: everybody waits alike, so that no ratio of p99 to the median shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import msgspec
import pytest
from abatch.cli.measuring.measure import run
from abatch.cli.measuring.plan import Plan
from abatch.cli.options.engine import EngineOptions
from abatch.cli.options.recipe import make_traffic
from abatch.cli.options.target import TargetOptions
from abatch.cli.options.traffic import TrafficOptions
from abatch.reports.recording.idle_model import IdleModel, IdlePoint
from abatch.reports.recording.recorder import Recorder
from abatch.reports.summary.finding import Finding, Label
from abatch.reports.summary.findings import findings
from abatch.reports.summary.summary import Summary, fill_summary
from abatch.workloads.result import Result
from support.results import make_result

_IDLE = IdleModel(
    requests=8, is_probed=True, points=[IdlePoint(20.0, 10.0)], itl_base_ms=10.0, spread=0.0, largest_prompt=20
)


def _summary(results: Sequence[Result], idle: IdleModel | None = _IDLE, **labels: object) -> Summary:
    recorder = Recorder(idle=idle)
    for result in results:
        recorder.add(result)
    summary = fill_summary(Summary(), recorder, max(result.due_s for result in results))
    return msgspec.structs.replace(summary, **labels)


def _requests(ttft_ms: float, *, count: int = 2000, gap_ms: float = 10.0, spread: float = 0.1) -> list[Result]:
    random = Random(7)
    return [
        make_result(
            ttft_ms * random.uniform(1 - spread, 1 + spread),
            gaps_ms=(gap_ms,) * 5,
            due_s=index / 10,
            session_id=str(index),
        )
        for index in range(count)
    ]


def _heads(summary: Summary) -> list[Finding]:
    return [finding for finding in findings(summary) if finding.label not in (Label.SIMULATED, Label.CLASS)]


def test_everybody_waits_alike() -> None:
    summary = _summary(_requests(500.0))
    assert summary.metrics["ttft"]["all"].tail_ratio < 1.2, "the ratio acquits it"
    head = _heads(summary)[0]
    assert head.label is Label.EVENLY_SLOW
    assert "your median request waits 499 ms for its first token, 50x what its work takes" in head.words
    assert head.numbers["ttft_slowdown_p50"] == pytest.approx(50.0, rel=0.02)


def test_what_takes_what_its_work_takes_is_ok() -> None:
    assert _heads(_summary(_requests(10.0)))[0].label is Label.OK


@pytest.mark.parametrize("idle", [None, msgspec.structs.replace(_IDLE, is_probed=False)], ids=["none", "envelope"])
def test_nothing_is_claimed_without_a_probe(idle: IdleModel | None) -> None:
    assert _heads(_summary(_requests(500.0), idle))[0].label is Label.OK


def test_an_idle_server_that_is_slow_by_itself_is_no_schedule() -> None:
    """Of two probes of a size one took 10 ms, the other 40 ms: a median of 35 ms is what this server does when idle."""
    unsure = msgspec.structs.replace(_IDLE, spread=3.0)
    assert _heads(_summary(_requests(35.0)))[0].label is Label.EVENLY_SLOW
    assert _heads(_summary(_requests(35.0), unsure))[0].label is Label.OK
    assert _heads(_summary(_requests(500.0), unsure))[0].label is Label.EVENLY_SLOW


def test_close_to_three_is_no_word() -> None:
    """Stretches of 25 s at 2.6 and at 3.8 times the work take turns: the median of another run may be below three."""
    random = Random(8)
    results = [
        make_result(
            (38.0 if index // 250 % 2 else 26.0) * random.uniform(0.8, 1.2), gaps_ms=(10.0,) * 5, due_s=index / 10
        )
        for index in range(2000)
    ]
    summary = _summary(results)
    assert summary.slowdown["ttft"]["all"].p50 > 3
    assert all(finding.label is not Label.EVENLY_SLOW for finding in _heads(summary))


def test_slow_tokens_are_said_too() -> None:
    head = _heads(_summary(_requests(10.0, gap_ms=80.0)))[0]
    assert head.label is Label.EVENLY_SLOW
    assert "your median request takes 80.1 ms for each further token, 8.0x" in head.words


def test_a_tail_is_not_even_and_the_worse_of_two_faults_comes_first() -> None:
    tailed = [
        msgspec.structs.replace(result, first_s=result.due_s + 3.0, end_s=result.due_s + 3.05)
        if index % 40 < 2
        else result
        for index, result in enumerate(_requests(40.0))
    ]
    uneven = [finding.label for finding in _heads(_summary(tailed))]
    assert uneven[0] is Label.FLAGGED
    assert Label.EVENLY_SLOW not in uneven, "of ttft some wait far longer than others; e2e is flagged with it"
    gaps = [
        msgspec.structs.replace(
            result, gaps_us=[10_000] * 4 + [500_000] * (index % 20 == 0) + [10_000] * (index % 20 > 0)
        )
        for index, result in enumerate(_requests(400.0))
    ]
    labels = [finding.label for finding in _heads(_summary(gaps))]
    assert labels.index(Label.FLAGGED) < labels.index(Label.EVENLY_SLOW), "50 medians are worse than 40 times the work"
    labels = [
        finding.label for finding in _heads(_summary([msgspec.structs.replace(r, first_s=r.due_s + 4.0) for r in gaps]))
    ]
    assert labels.index(Label.EVENLY_SLOW) < labels.index(Label.FLAGGED)


def test_a_few_requests_say_nothing_unless_nothing_is_random() -> None:
    few = _requests(500.0, count=40)
    squeezed = [
        msgspec.structs.replace(r, due_s=0.0, sent_s=0.0, first_s=r.ttft_us / 1e6, end_s=r.e2e_us / 1e6) for r in few
    ]
    assert all(finding.label is not Label.EVENLY_SLOW for finding in _heads(_summary(squeezed)))
    assert _heads(_summary(squeezed, simulated=True))[0].label is Label.EVENLY_SLOW


def test_the_products_own_experiment(tmp_path: Path) -> None:
    """Long prompts among decoders: static batching makes everybody wait for seconds, and its p99/p50 is the lowest."""
    summaries = {}
    for batching in ("window", "async"):
        traffic = make_traffic(TrafficOptions(workload="hol-probe", duration_s=40.0, warmup_s=2.0))
        source = TargetOptions().source(EngineOptions(device="simulated:h100", batching=batching), 0)
        plan = Plan(traffic=traffic, source=source, folder=tmp_path / batching, idle_probe=8)
        summaries[batching] = run(replace(plan)).summary
    window, asynchronous = summaries["window"], summaries["async"]
    assert window.metrics["ttft"]["decode"].tail_ratio < asynchronous.metrics["ttft"]["decode"].tail_ratio
    assert window.slowdown["ttft"]["decode"].p50 > 50
    assert asynchronous.slowdown["ttft"]["decode"].p50 < 2.5
    assert _heads(window)[0].label is Label.EVENLY_SLOW
    assert Label.EVENLY_SLOW not in [finding.label for finding in _heads(asynchronous)]
