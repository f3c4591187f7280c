"""Percentiles where some requests were cut off: neither left out nor taken for ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from abatch.reports.gates.judge import Outcome, judge
from abatch.reports.gates.parser import parse_rule
from abatch.reports.recording.histograms import new_histogram
from abatch.reports.recording.recorder import Recorder
from abatch.reports.run.measurement import Measurement
from abatch.reports.statistics.kaplan_meier import survival_percentiles
from abatch.reports.statistics.percentile import value_at
from abatch.reports.summary.state import State
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st
from support.measured import measurement
from support.results import make_result


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


def _cut_off(folder: Path, *, num_cut: int, num_slow: int = 0, count: int = 4000) -> Measurement:
    """A run of about 50 ms for each request, 70 for one in twenty; some take 500, and the last are cut off after 60."""
    slow = set(range(17, count - num_cut, count // num_slow)) if num_slow else set()
    results = [
        make_result(500.0 if index in slow else 70.0 if index % 20 == 5 else 50.0 + index % 5, due_s=59 * index / count)
        for index in range(count - num_cut)
    ]
    cut: dict[str, Any] = {"first_s": None, "gaps_us": [], "censored": True, "end_s": 59.96}
    results += [make_result(due_s=59.9, **cut) for _ in range(num_cut)]
    named = [msgspec.structs.replace(one, session_id=str(number)) for number, one in enumerate(results)]
    return measurement(folder, named)


def test_a_summary_says_what_was_cut_off_and_leaves_the_end_open(tmp_path: Path) -> None:
    many = _cut_off(tmp_path, num_cut=200).summary.metrics["ttft"]["all"]
    assert many.cut_off == 200
    assert many.p99_interval_ms is None or many.p99_interval_ms.is_open
    assert many.verdict is not State.OK, "any of the two hundred may have taken an hour"


def test_a_rule_does_not_pass_by_what_was_cut_off(tmp_path: Path) -> None:
    """0.35% took half a second and 0.7% were cut off: if these took as long, p99 would be half a second."""
    rule = parse_rule("ttft.p99 < 100ms")
    judgement = judge(rule, _cut_off(tmp_path / "cut", num_cut=28, num_slow=14))
    assert judgement.outcome is Outcome.INCONCLUSIVE
    assert "above the bound if the 28 requests that were cut off had never ended" in judgement.reason
    assert judge(rule, _cut_off(tmp_path / "none", num_cut=0)).outcome is Outcome.PASS
    assert judge(parse_rule("ttft.p99 < 60ms"), _cut_off(tmp_path / "slow", num_cut=28)).outcome is Outcome.FAIL


def test_which_values_are_lower_bounds() -> None:
    recorder = Recorder()
    recorder.add(make_result(10.0, gaps_ms=(5.0, 5.0), due_s=0.0, end_s=9.0, censored=True))
    recorder.add(make_result(10.0, due_s=1.0, end_s=9.0, first_s=None, gaps_us=[], censored=True))
    assert recorder.cut_us("ttft", "all") == {8_000_000: 1}, "the other's first token is known"
    assert recorder.cut_us("itl", "all") == {8_980_000: 1}
    assert recorder.cut_us("max_gap", "all") == {8_980_000: 1}
    assert recorder.cut_us("e2e", "all") == {9_000_000: 1, 8_000_000: 1}
    other = Recorder()
    other.merge(recorder)
    assert other.cut_us("e2e", "all") == recorder.cut_us("e2e", "all")
