"""The search finds the highest rate that holds, in few measurements, and says what ended it."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from abatch.cli.measuring.rate_search import Found, Limit, highest_rate
from hypothesis import given
from hypothesis import strategies as st

_FIRST, _PRECISION = 25.0, 1.1


class _Measure:
    """Remembers which rates were asked for; at each, `holds(rate, how often it was asked before)`."""

    def __init__(self, holds: Callable[[float, int], bool]) -> None:
        self.rates: list[float] = []
        self._holds = holds

    def __call__(self, rate: float) -> bool:
        self.rates.append(rate)
        return self._holds(rate, self.rates.count(rate) - 1)


def _search(
    holds: Callable[[float, int], bool], max_rate: float = 5000.0, may_fail: int = 0, precision: float = _PRECISION
) -> tuple[Found, list[float]]:
    measure = _Measure(holds)
    found = highest_rate(measure, first_rate=_FIRST, max_rate=max_rate, precision=precision, may_fail=may_fail)
    return found, measure.rates


@given(st.floats(_FIRST, 4999.0))
def test_the_limit_is_found_to_a_tenth(limit: float) -> None:
    found, rates = _search(lambda rate, _: rate <= limit)
    assert found.rate is not None
    assert found.failed_rate is not None
    assert found.rate <= limit < found.failed_rate <= found.rate * _PRECISION
    assert found.limit is Limit.FAILED
    assert len(rates) <= 20
    assert len(set(rates)) <= 12


@given(st.floats(_FIRST, 4999.0))
def test_what_fails_once_and_holds_then_has_held(limit: float) -> None:
    found, _ = _search(lambda rate, asked_before: rate <= limit and asked_before == 1)
    assert found.rate is not None
    assert found.failed_rate is not None
    assert found.rate <= limit < found.failed_rate <= found.rate * _PRECISION


def test_rates_double_then_meet_in_the_middle() -> None:
    found, rates = _search(lambda rate, _: rate <= 150)
    assert rates == [25, 50, 100, 200, 200, 141, 168, 168, 154, 154]
    assert found == Found(141, 154, Limit.FAILED)


def test_one_try_is_enough_where_nothing_is_left_to_chance() -> None:
    measure = _Measure(lambda rate, _: rate <= 150)
    found = highest_rate(measure, first_rate=_FIRST, max_rate=5000.0, precision=_PRECISION, tries=1)
    assert measure.rates == [25, 50, 100, 200, 141, 168, 154]
    assert found == Found(141, 154, Limit.FAILED)


def test_the_precision_is_what_was_asked_for() -> None:
    found, _ = _search(lambda rate, _: rate <= 1234, precision=1.02)
    assert found.rate is not None
    assert found.failed_rate is not None
    assert found.rate <= 1234 < found.failed_rate <= found.rate * 1.02


@pytest.mark.parametrize(("may_fail", "rates"), [(0, [25, 25]), (1, [25, 25, 50, 50]), (2, [25, 25, 50, 50, 100, 100])])
def test_what_never_holds_is_given_up_soon(may_fail: int, rates: list[float]) -> None:
    assert _search(lambda _, __: False, may_fail=may_fail) == (Found(None, rates[-1], Limit.FAILED), rates)


def test_a_low_rate_may_fail_where_a_higher_one_holds() -> None:
    found, rates = _search(lambda rate, _: 60 < rate < 110, may_fail=2)
    assert found.rate == 109
    assert rates[:7] == [25, 25, 50, 50, 100, 200, 200]


@pytest.mark.parametrize(
    ("max_rate", "rates"), [(30.0, [25, 30]), (25.0, [25]), (7.5, [7.5]), (200.0, [25, 50, 100, 200])]
)
def test_what_always_holds_ends_at_the_highest_rate_asked_for(max_rate: float, rates: list[float]) -> None:
    assert _search(lambda _, __: True, max_rate) == (Found(max_rate, None, Limit.MAX_RATE), rates)


def test_nothing_holds_up_to_the_highest_rate_asked_for() -> None:
    assert _search(lambda _, __: False, 30.0, may_fail=2) == (Found(None, 30, Limit.FAILED), [25, 25, 30, 30])


@pytest.mark.parametrize("num_measurements", range(1, 10))
def test_when_the_time_is_over_what_held_so_far_is_the_result(num_measurements: int) -> None:
    measure = _Measure(lambda rate, _: rate <= 150)
    left = itertools.count(num_measurements, -1)
    found = highest_rate(
        measure, first_rate=_FIRST, max_rate=5000.0, precision=_PRECISION, has_time=lambda: next(left) > 0
    )
    assert measure.rates == [25, 50, 100, 200, 200, 141, 168, 168, 154][:num_measurements]
    assert found.limit is Limit.TIME
    assert found.rate == max(rate for rate in measure.rates if rate <= 150)
    twice = [rate for rate in measure.rates if measure.rates.count(rate) == 2]
    assert found.failed_rate == min(twice, default=None)


def test_no_time_at_all_is_no_result() -> None:
    found = highest_rate(
        _Measure(lambda _, __: True), first_rate=1.0, max_rate=9.0, precision=2.0, has_time=lambda: False
    )
    assert found == Found(None, None, Limit.TIME)
