"""Percentiles where some requests were cut off: neither left out nor taken for ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest
from abatch.reports.recording.recorder import new_histogram
from abatch.reports.statistics.kaplan_meier import survival_percentiles
from abatch.reports.statistics.percentile import value_at
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st


def histogram_of(values_us: Sequence[int]) -> HdrHistogram:
    histogram = new_histogram()
    for value_us in values_us:
        histogram.record_value(value_us)
    return histogram


@given(st.lists(st.integers(1, 10**8), min_size=1, max_size=200), st.sampled_from([1, 25, 50, 90, 99, 99.9, 100]))
def test_without_a_cut_they_are_the_percentiles(values_us: list[int], percentile: float) -> None:
    histogram = histogram_of(values_us)
    assert survival_percentiles(histogram, {}, [percentile]) == [value_at(histogram, percentile)]


def test_the_textbook_example() -> None:
    """Times 1, 2+, 3, 4+, 5 (+: cut off): survival is 4/5 after 1, 4/5 * 2/3 after 3, and 0 after 5."""
    histogram = histogram_of([1, 2, 3, 4, 5])
    assert survival_percentiles(histogram, {2: 1, 4: 1}, [20, 21, 46, 47, 100]) == [1, 3, 3, 5, 5]


def test_what_lies_beyond_all_that_was_watched_is_not_known() -> None:
    histogram = histogram_of([10] * 98 + [50, 60])
    assert survival_percentiles(histogram, {50: 1, 60: 1}, [50, 98, 99]) == [10, 10, None]


@pytest.mark.parametrize("drain_s", [60.0, 30.0, 10.0, 0.0])
def test_a_tail_that_was_cut_off_is_estimated(drain_s: float) -> None:
    """Every request takes from 0 to 64.6 s, evenly; 20,000 of them are sent over two minutes, and then it ends."""
    random, longest_s, length_s = Random("cut"), 64.6, 120.0
    values_us, cut = [], Counter[int]()
    for _ in range(20_000):
        due_s, takes_s = random.uniform(0, length_s), random.uniform(0, longest_s)
        watched_s = length_s + drain_s - due_s
        value_us = round(1e6 * min(takes_s, watched_s)) + 1
        values_us.append(value_us)
        if takes_s > watched_s:
            cut[value_us] += 1
    truth_s = 0.99 * longest_s
    (found_us,) = survival_percentiles(histogram_of(values_us), cut, [99])
    assert found_us is not None
    assert found_us / 1e6 == pytest.approx(truth_s, rel=0.006)
    if drain_s == 0:
        assert value_at(histogram_of(values_us), 99) / 1e6 < truth_s - 0.4, "the trap: cut-off times taken for ends"
