"""Slowdowns: latencies over those of an idle server, and what the time was spent on."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from pathlib import Path
from random import Random

import msgspec
import pytest
from abatch.reports.recording.idle_model import IdleModel, IdlePoint, ProbedRequest, fit_idle
from abatch.reports.recording.recorder import Recorder
from abatch.reports.run.folder import RunReader
from abatch.reports.summary.summary import Summary, fill_summary
from abatch.workloads.result import Result
from support.measured import write_run
from support.results import make_result

_IDLE = IdleModel(
    requests=8,
    is_probed=True,
    points=[IdlePoint(100.0, 20.0), IdlePoint(1000.0, 65.0)],
    itl_base_ms=5.0,
    largest_prompt=1000,
)
"""15 ms and 50 us a prompt token, 5 ms a token of output."""


def _summary(results: Iterable[Result], idle: IdleModel | None = _IDLE) -> Summary:
    recorder = Recorder(idle=idle)
    for result in results:
        recorder.add(result)
    return fill_summary(Summary(), recorder, 60.0)


def _request(number: int, *, waits_ms: float = 0.0, gap_ms: float = 5.0, **fields: object) -> Result:
    prompt = 100 + 9 * (number % 101)
    values = {"prompt_tokens": prompt, "session_id": str(number), "due_s": number * 0.1, **fields}
    return make_result(15 + 0.05 * prompt + waits_ms, gaps_ms=(gap_ms,) * 20, **values)  # type: ignore[arg-type]


def _queue(count: int) -> tuple[list[Result], list[float]]:
    """One server, first come first served, at a load of 0.8: requests, and their true slowdowns of ttft."""
    random, free_s, at_s = Random(4), 0.0, 0.0
    results, slowdowns = [], []
    for number in range(count):
        at_s += random.expovariate(20.0)
        begins_s = max(at_s, free_s)
        free_s = begins_s + 0.04
        idle_ms = 20 + 0.05 * (9 * (number % 101))
        results.append(_request(number, waits_ms=(begins_s - at_s) * 1e3, due_s=at_s))
        slowdowns.append(((begins_s - at_s) * 1e3 + idle_ms) / idle_ms)
    return results, sorted(slowdowns)


def test_the_slowdown_of_a_queue_is_its_waiting_over_the_work() -> None:
    results, slowdowns = _queue(3000)
    found = _summary(results).slowdown
    ttft = found["ttft"]["all"]
    assert ttft.count == 3000
    assert ttft.p50 == pytest.approx(slowdowns[1499], rel=0.01)
    assert ttft.p99 == pytest.approx(slowdowns[2969], rel=0.01)
    assert found["tpot"]["chat"].p99 == pytest.approx(1.0, rel=0.01)
    assert 1 < found["e2e"]["chat"].p50 < ttft.p50
    assert ttft.p50_interval is not None
    assert ttft.p50_interval.low < ttft.p50 < ttft.p50_interval.high


def test_an_idle_server_has_no_slowdown_whatever_the_sizes() -> None:
    summary = _summary(_request(number) for number in range(1000))
    assert summary.metrics["ttft"]["all"].tail_ratio > 1.5
    for metric in ("ttft", "tpot", "e2e"):
        assert summary.slowdown[metric]["all"].p99 == pytest.approx(1.0, rel=0.01)
    spent = summary.time_spent["chat"].mean
    assert (spent.work, spent.waiting, spent.interference) == pytest.approx((1.0, 0.0, 0.0), abs=1e-3)


def test_what_a_cache_had_is_no_work() -> None:
    warm = _summary(_request(number, cached_tokens=100 + 9 * (number % 101)) for number in range(100))
    assert warm.slowdown["ttft"]["all"].p50 > 1.5, "the whole prompt's time for none of its work"


def test_time_goes_to_work_waiting_and_interference() -> None:
    requests = [_request(number, waits_ms=100.0, gap_ms=10.0) for number in range(990)]
    requests += [_request(number, waits_ms=900.0) for number in range(990, 1000)]
    spent = _summary(requests).time_spent["all"]
    for shares in (spent.mean, spent.tail):
        assert shares.work + shares.waiting + shares.interference == pytest.approx(1.0, abs=1e-3)
    assert spent.mean.requests == 1000
    work_ms, waiting_ms, interference_ms = 142.5, 108.0, 99.0
    assert spent.mean.mean_ms == pytest.approx(work_ms + waiting_ms + interference_ms, rel=0.01)
    assert spent.mean.waiting == pytest.approx(108 / 349.5, abs=0.01)
    assert spent.mean.interference == pytest.approx(99 / 349.5, abs=0.01)
    assert spent.tail.requests == 10
    assert spent.tail.waiting > 0.85
    assert spent.tail.interference == 0.0


def test_failed_requests_are_left_out_and_those_cut_off_are_lower_bounds() -> None:
    fine = [_request(number) for number in range(300)]
    failed = _request(300, waits_ms=9e3, error="http_500", first_s=None)
    warming = _request(301, waits_ms=9e3, warmup=True)
    assert _summary([*fine, failed, warming]).slowdown == _summary(fine).slowdown
    cut = [
        msgspec.structs.replace(
            _request(number),
            first_s=None,
            gaps_us=[],
            prompt_tokens=None,
            output_tokens=None,
            censored=True,
            end_s=60.0,
        )
        for number in range(20)
    ]
    found = _summary([*fine, *cut]).slowdown["ttft"]["all"]
    assert found.count == 320
    assert found.p99 == pytest.approx(60_000 / 65, rel=0.05), "over the largest prompt: at least that"


def test_two_processes_count_what_one_would() -> None:
    requests, _ = _queue(400)
    whole, first, second = (Recorder(idle=_IDLE) for _ in range(3))
    for number, result in enumerate(requests):
        whole.add(result)
        (first, second)[number % 2].add(result)
    first.merge(pickle.loads(pickle.dumps(second)))
    one, two = (fill_summary(Summary(), recorder, 60.0) for recorder in (whole, first))
    assert one.slowdown == two.slowdown
    assert one.time_spent["all"].tail == two.time_spent["all"].tail


def test_without_a_probe_the_runs_own_fastest_requests_are_the_measure() -> None:
    requests, slowdowns = _queue(3000)
    summary = _summary(requests, idle=None)
    assert summary.idle is not None
    assert not summary.idle.is_probed
    found = summary.slowdown["ttft"]["all"].p99
    assert found == pytest.approx(slowdowns[2969], rel=0.15)
    waiting = [_request(number, waits_ms=5000.0) for number in range(1000)]
    assert _summary(waiting, idle=None).slowdown["ttft"]["all"].p50 < 1.1, "who never saw it idle cannot know"


def test_a_saved_run_knows_its_idle_server(tmp_path: Path) -> None:
    requests, _ = _queue(500)
    reader = write_run(tmp_path / "run", requests, idle=_IDLE)
    saved = reader.summary()
    assert saved.idle == _IDLE
    again = RunReader(tmp_path / "run")
    assert fill_summary(Summary(), again.recorded().recorder, 60.0).slowdown == saved.slowdown


def test_a_probed_prompt_that_was_held_up_is_left_out() -> None:
    found = fit_idle([ProbedRequest(10, 5.0, 2.0), ProbedRequest(100, 90.0, 2.0), ProbedRequest(1000, 50.0, 2.0)])
    assert found is not None
    assert [point.prompt_tokens for point in found.points] == [10.0, 1000.0]
    assert found.ttft_ms(505) == pytest.approx(27.5)
    assert found.ttft_ms(1) == 5.0
    assert found.ttft_ms(2000) == pytest.approx(100.0), "beyond the points it is proportional"
    alone = fit_idle([ProbedRequest(20, 5.0, 2.0)])
    assert alone is not None
    assert [alone.ttft_ms(tokens) for tokens in (1, 200, 2560)] == [5.0, 5.0, 50.0]


def test_nothing_probed_is_no_model() -> None:
    assert fit_idle([]) is None


@pytest.mark.parametrize("itls_ms", [(4.0, 6.0), (6.0, 4.0), (5.0, None)])
def test_a_token_never_costs_less_after_a_longer_context(itls_ms: tuple[float, float | None]) -> None:
    found = fit_idle([ProbedRequest(100, 5.0, itls_ms[0]), ProbedRequest(1100, 9.0, itls_ms[1])])
    assert found is not None
    assert found.itl_us_per_token == (2.0 if itls_ms == (4.0, 6.0) else 0.0)
    assert found.itl_ms(0, 0) == pytest.approx(3.8 if itls_ms == (4.0, 6.0) else 5.0)


def test_without_gaps_only_first_tokens_are_compared() -> None:
    idle = fit_idle([ProbedRequest(100, 20.0, None), ProbedRequest(1000, 65.0, None)])
    found = _summary((_request(number) for number in range(50)), idle).slowdown
    assert set(found) == {"ttft"}
