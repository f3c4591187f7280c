"""Intervals: wide where a run says little, and right as often as they claim."""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest
from abatch.reports.recording.recorder import Recorder
from abatch.reports.statistics.bootstrap import Distribution, Resample, intervals, p50_ms, p99_ms, tail_ratio
from abatch.reports.statistics.log_buckets import bucket_us
from abatch.reports.statistics.time_blocks import TimeBlocks
from abatch.reports.summary.metric import MetricSummary
from abatch.reports.summary.state import State
from abatch.reports.summary.summary import Summary, fill_summary
from hypothesis import given
from hypothesis import strategies as st
from support.results import make_result

_STATISTICS = (p50_ms, p99_ms, tail_ratio)
_BLOCKS = st.lists(st.dictionaries(st.integers(0, 4000), st.integers(1, 30), max_size=8), min_size=1, max_size=20)


@given(_BLOCKS, st.lists(st.integers(0, 3), min_size=20, max_size=20), st.sampled_from([0.01, 0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_that_of_all_values_by_nearest_rank(
    counts: list[dict[int, int]], weights: list[int], share: float
) -> None:
    for chosen in ([1] * len(counts), weights[: len(counts)]):
        buckets = sorted(
            bucket
            for block, weight in zip(counts, chosen, strict=True)
            for bucket, count in block.items()
            for _ in range(count * weight)
        )
        resample = Resample(Distribution([Counter(block) for block in counts]), chosen)
        assert resample.count() == len(buckets)
        if buckets:
            assert resample.quantile_us(share) == bucket_us(buckets[math.ceil(share * len(buckets)) - 1])
            assert resample.mean_us() == pytest.approx(sum(map(bucket_us, buckets)) / len(buckets))


def blocks_of(latencies_ms: Sequence[float], per_s: float = 20.0) -> list[Counter[int]]:
    blocks = TimeBlocks()
    for index, latency_ms in enumerate(latencies_ms):
        blocks.add(index / per_s, [round(latency_ms * 1e3)])
    return blocks.blocks()


def test_19_of_20_intervals_contain_the_truth_and_they_are_no_wider_than_they_must_be() -> None:
    """60 runs of 1,200 independent latencies: log-normal, median 50 ms."""
    tail = math.exp(0.6 * 2.3263)
    truth = (50.0, 50.0 * tail, tail)
    hits, widths = [0, 0, 0], [0.0, 0.0, 0.0]
    for seed in range(60):
        random = Random(seed)
        found = intervals(blocks_of([50 * random.lognormvariate(0, 0.6) for _ in range(1200)]), _STATISTICS)
        assert found is not None
        for place, (interval, value) in enumerate(zip(found, truth, strict=True)):
            hits[place] += interval.low <= value <= interval.high
            widths[place] += (interval.high - interval.low) / value / 60
    assert min(hits) >= 50
    # In theory 4 standard errors: of the median 0.09, of p99 0.26.
    assert widths == [pytest.approx(0.09, rel=0.3), pytest.approx(0.26, rel=0.3), pytest.approx(0.27, rel=0.3)]


def ttft_of(slow: set[int]) -> MetricSummary:
    """1,000 requests in 100 s, about 10 ms each, those in `slow` 100 ms."""
    random, recorder = Random(1), Recorder()
    for index in range(1000):
        recorder.add(make_result(random.uniform(9, 11) * (10 if index in slow else 1), due_s=index / 10))
    return fill_summary(Summary(), recorder, 100.0).metrics["ttft"]["all"]


def test_a_freeze_is_one_event_however_many_requests_it_hit() -> None:
    frozen = ttft_of(set(range(500, 540)))
    assert frozen.tail_ratio > 9
    assert frozen.tail_ratio_interval is not None
    assert frozen.tail_ratio_interval.low < 2
    assert frozen.tail_ratio_interval.high > 9
    assert frozen.verdict is State.BORDERLINE


def test_as_many_slow_requests_all_over_the_run_are_what_the_server_does() -> None:
    slow = ttft_of(set(range(0, 1000, 25)))
    assert slow.tail_ratio_interval is not None
    assert slow.tail_ratio_interval.low > 8
    assert slow.verdict is State.FLAGGED


def test_a_run_without_a_tail_is_ok_within_a_narrow_interval() -> None:
    clean = ttft_of(set())
    assert clean.tail_ratio_interval is not None
    assert 1 < clean.tail_ratio_interval.low < clean.tail_ratio < clean.tail_ratio_interval.high < 1.2
    assert clean.verdict is State.OK
    assert clean.p50_interval_ms is not None
    assert clean.p50_interval_ms.low < clean.p50_ms < clean.p50_interval_ms.high


def test_the_same_run_always_has_the_same_intervals() -> None:
    blocks = blocks_of([Random(2).lognormvariate(3, 1) for _ in range(500)])
    first = intervals(blocks, _STATISTICS)
    random.seed(5)
    assert intervals(blocks, _STATISTICS) == first


@pytest.mark.parametrize(("num_filled", "num_empty"), [(7, 0), (7, 50), (0, 0), (0, 20)])
def test_too_few_blocks_with_anything_in_them_tell_nothing(num_filled: int, num_empty: int) -> None:
    assert intervals([Counter({100: 50})] * num_filled + [Counter()] * num_empty, _STATISTICS) is None


def test_values_that_do_not_vary_have_an_interval_as_wide_as_a_bucket() -> None:
    found = intervals([Counter({1000: 50})] * 8, _STATISTICS)
    assert found is not None
    assert (found[2].low, found[2].high) == pytest.approx((0.995, 1.005), abs=1e-3)


@pytest.mark.parametrize("before", [0, 28, 56])
def test_silence_at_the_edges_is_no_latency(before: int) -> None:
    """Some resamples draw nothing but silence: they have no quantile."""
    spoken = [Counter({1000: 50, 3000: 1})] * 8
    found = intervals([Counter[int]()] * before + spoken + [Counter[int]()] * (56 - before), (p50_ms,))
    assert found is not None
    assert found[0].high == pytest.approx(bucket_us(1000) / 1e3, rel=0.006)


def test_a_metric_of_many_different_values_costs_a_fraction_of_a_second() -> None:
    random = Random(3)
    blocks = blocks_of([random.lognormvariate(4, 1.5) for _ in range(20_000)], per_s=200)
    assert len(set().union(*blocks)) > 1000
    began_s = time.process_time()
    intervals(blocks, _STATISTICS)
    assert time.process_time() - began_s < 1
