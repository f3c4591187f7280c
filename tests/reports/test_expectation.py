"""Prices fitted to requests, and tails with the price of the work taken out."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec
import pytest
from abatch.reports.recording.expectation import Expectation, fit
from abatch.reports.recording.recorder import Recorder
from abatch.reports.recording.request_sample import RequestSample
from abatch.reports.statistics.interval import Interval
from abatch.reports.summary.summary import Summary, fill_summary
from abatch.workloads.result import Result
from support.results import make_result


def expected_ms(found: Expectation, sizes: Sequence[float]) -> float:
    """What a request of these sizes should take."""
    return found.base_ms + sum(cost * size for cost, size in zip(found.cost_ms, sizes, strict=True))


def _noisy(count: int, outliers: float = 0.05) -> tuple[list[tuple[float, float]], list[float]]:
    """20 ms, 50 us a prompt token, 10 ms an output token; some ten times slower."""
    draw = random.Random(1)
    sizes = [(float(draw.randrange(100, 8000)), float(draw.randrange(1, 300))) for _ in range(count)]
    took = []
    for prompt, output in sizes:
        slow = 10.0 if draw.random() < outliers else 1.0
        took.append((20 + 0.05 * prompt + 10 * output) * draw.lognormvariate(0, 0.1) * slow)
    return sizes, took


def test_prices_are_found_whatever_a_few_requests_suffered() -> None:
    found = fit(*_noisy(3000))
    assert found is not None
    assert found.cost_ms[0] == pytest.approx(0.05, rel=0.15)
    assert found.cost_ms[1] == pytest.approx(10.0, rel=0.03)
    sizes, took = _noisy(1000)
    below = sum(1 for size, value in zip(sizes, took, strict=True) if value < expected_ms(found, size))
    assert 0.4 < below / len(took) < 0.56


def test_another_share_is_another_line() -> None:
    sizes, took = _noisy(2000, outliers=0.0)
    for share in (0.1, 0.9):
        found = fit(sizes, took, share=share)
        assert found is not None
        below = sum(1 for size, value in zip(sizes, took, strict=True) if value < expected_ms(found, size))
        assert below / len(took) == pytest.approx(share, abs=0.06)


def test_no_size_makes_faster() -> None:
    draw = random.Random(2)
    sizes = [(float(size),) for size in range(100, 200)]
    found = fit(sizes, [500 - size[0] + draw.random() for size in sizes])
    assert found is not None
    assert found.cost_ms == (0.0,)
    assert 300 < found.base_ms < 400


def test_a_size_that_never_varies_is_part_of_the_base() -> None:
    found = fit([(50.0,)] * 100, [10.0 + index % 3 for index in range(100)])
    assert found is not None
    assert found.cost_ms == (0.0,)
    assert expected_ms(found, (50.0,)) == pytest.approx(11.0, abs=0.5)


def test_sizes_that_say_the_same_still_give_a_line() -> None:
    sizes = [(float(size), 2.0 * size) for size in range(1, 101)]
    found = fit(sizes, [5 + 3.0 * size for size, _ in sizes])
    assert found is not None
    assert expected_ms(found, (50.0, 100.0)) == pytest.approx(155.0, rel=0.02)


def test_too_few_are_not_fitted() -> None:
    assert fit([(1.0,)] * 29, [1.0] * 29) is None


def _ratios(results: list[Result]) -> tuple[float, float | None]:
    recorder = Recorder()
    for result in results:
        recorder.add(result)
    ttft = fill_summary(Summary(), recorder, 100.0).metrics["ttft"]["all"]
    return ttft.tail_ratio, ttft.normalised_ratio


def _sized(count: int, stall_ms: float = 0.0) -> list[Result]:
    """10 ms and 0.1 ms a token; one prompt in fifty is twenty times as long; one request in thirty is stalled."""
    draw = random.Random(3)
    results = []
    for number in range(count):
        prompt = 4000 if number % 50 == 0 else 200
        ttft_ms = (10 + 0.1 * prompt) * draw.uniform(0.95, 1.05) + (stall_ms if number % 30 == 0 else 0.0)
        fields = {"session_id": str(number), "prompt_tokens": prompt}
        results.append(make_result(ttft_ms, due_s=number * 0.1, **fields))  # type: ignore[arg-type]
    return results


def test_what_is_long_because_it_is_large_is_not_the_servers() -> None:
    raw, normalised = _ratios(_sized(1000))
    assert raw > 10
    assert normalised == pytest.approx(1.05, abs=0.1)


def test_what_is_long_because_the_server_stood_still_is() -> None:
    raw, normalised = _ratios(_sized(1000, stall_ms=900.0))
    assert raw > 10
    assert normalised is not None
    assert normalised > 10


def _normalised(results: list[Result], *, simulated: bool = False) -> Interval | None:
    recorder = Recorder()
    for result in results:
        recorder.add(result)
    return fill_summary(Summary(simulated=simulated), recorder, 100.0).metrics["ttft"]["all"].normalised_interval


def test_a_normalised_ratio_has_an_interval() -> None:
    calm, stalled = _normalised(_sized(1000)), _normalised(_sized(1000, stall_ms=900.0))
    assert calm is not None
    assert stalled is not None
    assert calm.low <= 1.05 <= calm.high < 1.5
    assert stalled.low > 3
    assert _normalised(_sized(1000), simulated=True) is None


def test_later_turns_have_no_known_size_where_nobody_reports_prefix_hits() -> None:
    """Their prompts are long, and were mostly cached, or not: the ratio would excuse or accuse at random."""

    def later(cached: int | None) -> list[Result]:
        return [msgspec.structs.replace(one, turn_index=1, cached_tokens=cached) for one in _sized(1000)]

    assert _ratios(later(None))[1] is None
    assert _ratios([*later(None)[:-1], *later(1)[-1:]])[1] is not None  # silent where there is none
    assert _ratios(later(0))[1] is not None


def test_cached_context_that_is_attended_to_is_part_of_the_price() -> None:
    """10 ms, and 0.02 us for each new token and each token before it: a short question in a long session is slow."""
    draw = random.Random(4)
    results = []
    for number in range(1000):
        new, cached = 100, draw.choice((200, 1000, 30_000))
        ttft_ms = (10 + 0.02e-3 * new * (cached + new / 2)) * draw.uniform(0.97, 1.03)
        fields = {"session_id": str(number), "prompt_tokens": cached + new, "cached_tokens": cached}
        results.append(make_result(ttft_ms, due_s=number * 0.1, **fields))  # type: ignore[arg-type]
    raw, normalised = _ratios(results)
    assert raw > 5
    assert normalised == pytest.approx(1.03, abs=0.05)


def test_a_sample_is_fair_and_bounded() -> None:
    """Each of 50,000 with equal chance: ten equal parts of the run are equally there."""
    sample = RequestSample()
    for number in range(50_000):
        sample.add(make_result(due_s=float(number)))
    kept = sample.requests()
    assert len(kept) == 5000
    parts = [0] * 10
    for request in kept:
        parts[int(request.due_s // 5000)] += 1
    assert all(430 <= part <= 570 for part in parts), parts


def test_merging_unequal_samples_is_fair_too() -> None:
    large, small = RequestSample(), RequestSample()
    for number in range(40_000):
        large.add(make_result(due_s=float(number)))
    for number in range(10_000):
        small.add(make_result(due_s=100_000.0 + number))
    large.merge(small)
    kept = large.requests()
    assert len(kept) == 5000
    of_small = sum(1 for request in kept if request.due_s >= 100_000)
    assert 850 <= of_small <= 1150
