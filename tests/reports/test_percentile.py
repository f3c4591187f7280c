"""Percentiles are those that other HDR tools show."""

from __future__ import annotations

import math

import pytest
from abatch.reports.recording.histograms import new_histogram
from abatch.reports.statistics.percentile import rank_at, value_at
from hypothesis import given
from hypothesis import strategies as st


@given(st.lists(st.integers(1, 1500), min_size=1, max_size=300), st.sampled_from([0.5, 50, 90, 95, 99, 99.9, 100]))
def test_it_is_the_least_value_that_so_large_a_share_is_no_larger_than(values: list[int], percentile: float) -> None:
    histogram = new_histogram()
    for value in values:
        histogram.record_value(value)
    found = value_at(histogram, percentile)
    share = sum(value <= found for value in values) / len(values)
    assert share >= percentile / 100 - 1e-9
    assert sum(value < found for value in values) / len(values) < percentile / 100
    assert found in values, "below 2,048 every value has a bucket of its own"


def test_the_p99_of_178_is_the_second_slowest() -> None:
    """The Java HistogramLogProcessor says so; hdrh's own rank is the 176th."""
    assert rank_at(99, 178) == 177
    assert rank_at(99, 100) == 99
    assert rank_at(99.9, 1000) == 999, "0.999 * 1000 is a little more than 999"


@pytest.mark.parametrize("count", [1, 7, 1000, 4321])
def test_every_rank_is_hit_exactly(count: int) -> None:
    histogram = new_histogram()
    for value in range(1, min(count, 2000) + 1):
        histogram.record_value(value)
    count = int(histogram.get_total_count())
    for rank in range(1, count + 1):
        assert value_at(histogram, 100 * rank / count) == rank


def test_the_ends() -> None:
    histogram = new_histogram()
    assert value_at(histogram, 99) == 0
    histogram.record_value(5)
    assert value_at(histogram, 0) == value_at(histogram, 100) == 5
    assert math.isclose(value_at(histogram, 120), 5)
