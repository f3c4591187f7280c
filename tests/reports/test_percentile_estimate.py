"""Intervals of percentiles, means and ratios: wide where a run says little, and right as often as they claim."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from operator import mul
from random import Random

import pytest
from abatch.reports.recording.recorder import Recorder
from abatch.reports.statistics.distribution import Distribution
from abatch.reports.statistics.estimate import Estimate
from abatch.reports.statistics.exceedances import Exceedances, memory_factor
from abatch.reports.statistics.interval import Interval
from abatch.reports.statistics.log_buckets import bucket_us
from abatch.reports.statistics.mean_estimate import mean_estimate
from abatch.reports.statistics.percentile_estimate import percentile_estimate, ratio_interval
from abatch.reports.statistics.time_blocks import TimeBlocks
from abatch.reports.summary.metric import MetricSummary
from abatch.reports.summary.state import State
from abatch.reports.summary.summary import Summary, fill_summary
from hypothesis import given
from hypothesis import strategies as st
from support.results import make_result

_BLOCKS = st.lists(st.dictionaries(st.integers(0, 4000), st.integers(1, 30), max_size=8), min_size=1, max_size=20)


@given(_BLOCKS, st.sampled_from([0.01, 0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_that_of_all_values_by_nearest_rank(counts: list[dict[int, int]], share: float) -> None:
    buckets = sorted(bucket for block in counts for bucket, count in block.items() for _ in range(count))
    distribution = Distribution([Counter(block) for block in counts])
    if buckets:
        assert distribution.quantile_us(share) == bucket_us(buckets[math.ceil(share * len(buckets)) - 1])
        assert distribution.mean_us() == pytest.approx(sum(map(bucket_us, buckets)) / len(buckets))


@given(_BLOCKS, st.sampled_from([0.5, 0.9, 0.99]))
def test_an_estimate_is_the_quantile_and_lies_in_its_interval(counts: list[dict[int, int]], share: float) -> None:
    blocks = [Counter(block) for block in counts]
    found = percentile_estimate(Exceedances(blocks), share)
    if found is not None:
        assert found.value_us == Distribution(blocks).quantile_us(share)
        assert found.low_us < found.value_us < found.high_us
        assert (found.samples_needed is None) == math.isfinite(found.high_us)
        assert sum(found.residuals) == pytest.approx(0, abs=1e-6)


@given(_BLOCKS, st.sampled_from([0.5, 0.9]))
def test_edges_as_multiples_of_a_percentile_vary_less_by_what_the_percentile_varies(
    counts: list[dict[int, int]], share: float
) -> None:
    """Block by block, by the definition."""
    exceedances = Exceedances([Counter(block) for block in counts])
    if not exceedances.blocks:
        return
    at = exceedances.bucket_at(share)
    reach = exceedances.bucket_at(1 - 0.6 * (1 - share)) - at
    together = sum(exceedances.blocks, Counter[int]())
    of_percentile = exceedances.residuals(at)

    def num_next(bucket: int) -> int:
        return sum(count for other, count in together.items() if bucket < other <= bucket + reach)

    for edge in exceedances.edges_over(share):
        slope = num_next(edge.bucket) / (num_next(at) or 1)
        pairs = zip(exceedances.residuals(edge.bucket), of_percentile, strict=True)
        residuals = [here - slope * there for here, there in pairs]
        squares, num_blocks = sum(one * one for one in residuals), len(residuals)
        if squares < 1e-6 or num_blocks < 2 or edge.above == 0:
            assert edge.design_effect == 1
            continue
        factor = memory_factor(squares, sum(map(mul, residuals, residuals[1:])), num_blocks)
        noise = exceedances.count * edge.above * (1 - edge.above)
        assert edge.effective_blocks == pytest.approx(num_blocks / factor, rel=1e-3)
        assert edge.design_effect == pytest.approx(
            max(1.0, squares * num_blocks / (num_blocks - 1) * factor / noise), rel=1e-3
        )


def test_a_median_between_two_heaps_bounds_no_ratio() -> None:
    """Gaps of 8 ms and of 40 ms by turns: which of the two is the median is chance."""
    heaps = blocks_of([8.0 + index % 5 / 10 if index % 2 else 40.0 + index % 7 for index in range(2000)])
    one_heap = blocks_of([40.0 + index % 7 if index % 10 else 8.0 for index in range(2000)])
    of_heaps, of_one = tail_ratio(heaps), tail_ratio(one_heap)
    assert of_heaps.low <= 1.2
    assert of_heaps.high > 5
    assert 1 < of_one.low < of_one.high < 1.2


def blocks_of(latencies_ms: Sequence[float], per_s: float = 20.0) -> list[Counter[int]]:
    blocks = TimeBlocks()
    for index, latency_ms in enumerate(latencies_ms):
        blocks.add(index / per_s, [round(latency_ms * 1e3)])
    return blocks.blocks()


def of_blocks(blocks: Sequence[Counter[int]], share: float) -> Estimate:
    found = percentile_estimate(Exceedances(blocks), share)
    assert found is not None
    return found


def tail_ratio(blocks: Sequence[Counter[int]]) -> Interval:
    return ratio_interval(Exceedances(blocks), of_blocks(blocks, 0.99), of_blocks(blocks, 0.5))


def test_19_of_20_intervals_contain_the_truth_and_they_are_no_wider_than_they_must_be() -> None:
    """60 runs of 1,200 independent latencies: log-normal, median 50 ms."""
    tail = math.exp(0.6 * 2.3263)
    truth = (50.0, 50.0 * tail, tail, 50.0 * math.exp(0.6**2 / 2))
    ideal = (0.09, 0.26, 0.27, 0.08)
    """4 standard errors of each."""
    hits, widths = [0] * 4, [0.0] * 4
    for seed in range(60):
        random = Random(seed)
        blocks = blocks_of([50 * random.lognormvariate(0, 0.6) for _ in range(1200)])
        p50, p99, mean = of_blocks(blocks, 0.5), of_blocks(blocks, 0.99), mean_estimate(blocks)
        assert mean is not None
        found = [p50.interval_ms, p99.interval_ms, tail_ratio(blocks), mean.interval_ms]
        for place, (interval, value) in enumerate(zip(found, truth, strict=True)):
            hits[place] += interval.low <= value <= interval.high
            widths[place] += (interval.high - interval.low) / value / 60
    assert min(hits) >= 53
    assert all(best < width < 1.8 * best for width, best in zip(widths, ideal, strict=True))


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


def test_a_run_bounds_its_p99_only_with_enough_samples() -> None:
    """None of 300 above a value leaves 1% possible; none of 400 does not."""
    for count, is_open in ((300, True), (400, False)):
        latencies_ms = [10.0 + 37 * index % 61 for index in range(count)]
        found = of_blocks(blocks_of(latencies_ms, per_s=count / 16), 0.99)
        assert math.isinf(found.high_us) == is_open
        assert math.isfinite(of_blocks(blocks_of([10.0] * 70, per_s=70 / 16), 0.95).high_us)


def test_samples_that_come_in_clusters_count_for_fewer_and_more_of_them_are_needed() -> None:
    """1% are slow: one here and there, or ten in a row."""
    alone = [100.0 if index % 100 == 50 else 10.0 + index % 7 for index in range(1000)]
    in_rows = [100.0 + index % 10 if index % 1000 >= 990 else 10.0 + index % 7 for index in range(3000)]
    assert of_blocks(blocks_of(alone), 0.99).samples_needed is None
    found = of_blocks(blocks_of(in_rows), 0.99)
    assert math.isinf(found.high_us)
    assert found.samples_needed is not None
    assert 3000 < found.samples_needed < 30_000


def test_what_lasts_for_half_of_a_run_has_no_interval() -> None:
    """Slow in the second half: how long a server stays slow cannot be seen in one change."""
    drifting = blocks_of([10.0 + index % 3 if index < 500 else 100.0 + index % 3 for index in range(1000)])
    assert percentile_estimate(Exceedances(drifting), 0.5) is None
    assert mean_estimate(drifting) is None


@pytest.mark.parametrize(("num_filled", "num_empty"), [(3, 0), (3, 50), (0, 0), (0, 20)])
def test_too_few_blocks_with_anything_in_them_tell_nothing(num_filled: int, num_empty: int) -> None:
    blocks = [Counter({100: 50, 103: 1})] * num_filled + [Counter[int]()] * num_empty
    assert percentile_estimate(Exceedances(blocks), 0.5) is None
    assert mean_estimate(blocks) is None


def test_values_that_do_not_vary_have_an_interval_as_wide_as_a_bucket() -> None:
    interval = tail_ratio([Counter({1000: 100})] * 8)
    assert (interval.low, interval.high) == pytest.approx((0.995, 1.005), abs=3e-3)


@pytest.mark.parametrize("before", [0, 28, 56])
def test_silence_is_no_latency(before: int) -> None:
    spoken = [Counter({1000: 50, 3000: 1})] * 8
    silent = [Counter[int]()] * before + spoken + [Counter[int]()] * (56 - before)
    assert of_blocks(silent, 0.5) == of_blocks(spoken, 0.5)


def test_a_metric_of_many_different_values_costs_a_fraction_of_a_second() -> None:
    random = Random(3)
    blocks = blocks_of([random.lognormvariate(4, 1.5) for _ in range(20_000)], per_s=200)
    assert len(set().union(*blocks)) > 1000
    began_s = time.thread_time()  # other threads of the process may work
    exceedances = Exceedances(blocks)
    assert percentile_estimate(exceedances, 0.5)
    assert percentile_estimate(exceedances, 0.99)
    assert time.thread_time() - began_s < 0.3
