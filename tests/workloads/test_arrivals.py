"""When open-loop sessions start."""

from __future__ import annotations

import itertools
import math
from random import Random
from statistics import fmean, variance

import pytest
from abatch.engine.errors import ConfigurationError
from abatch.workloads.arrivals import ARRIVALS, arrival_times, check_arrival

_SIGMAS = 4.5


def counts_per_second(arrival: str, rate: float, seconds: int) -> list[int]:
    counts = [0] * seconds
    for time in itertools.takewhile(lambda time: time < seconds, arrival_times(arrival, rate, Random(1))):
        counts[int(time)] += 1
    return counts


@pytest.mark.parametrize("arrival", ["constant", "poisson"])
def test_arrivals_have_their_rate(arrival: str) -> None:
    times = list(itertools.islice(arrival_times(arrival, 20.0, Random(1)), 4000))
    assert times == sorted(times)
    assert 4000 / times[-1] == pytest.approx(20, rel=0.05)
    gaps = [after - before for before, after in itertools.pairwise(times)]
    variation = (sum((gap - 0.05) ** 2 for gap in gaps) / len(gaps)) ** 0.5 / 0.05
    assert variation == pytest.approx(1.0 if arrival == "poisson" else 0.0, abs=0.05)


@pytest.mark.parametrize(("rate", "seconds"), [(0.5, 40_000), (2.0, 40_000), (20.0, 10_000), (200.0, 2000)])
def test_bursts_have_their_rate_and_a_dispersion_of_13(rate: float, seconds: int) -> None:
    counts = counts_per_second("bursty", rate, seconds)
    assert abs(fmean(counts) - rate) < _SIGMAS * math.sqrt(13 * rate / seconds)
    # The error of a variance follows from the kurtosis, which is a negative-binomial distribution's.
    shape = rate / 12
    excess_kurtosis = 6 / shape + (1 / 13) ** 2 / (12 / 13 * shape)
    error = math.sqrt((excess_kurtosis + 2) / seconds)
    assert variance(counts) / fmean(counts) == pytest.approx(13, rel=_SIGMAS * error)


def test_counts_of_bursts_are_negative_binomial() -> None:
    """Seconds without any arrival are a share of (1/13) ** shape, which no other mixture with that variance has."""
    counts = counts_per_second("bursty", 2.0, 20_000)
    expected = (1 / 13) ** (2.0 / 12)
    tolerance = _SIGMAS * math.sqrt(expected * (1 - expected) / len(counts))
    assert abs(counts.count(0) / len(counts) - expected) < tolerance


def test_bursts_are_in_order_and_even_within_their_second() -> None:
    times = [*itertools.islice(arrival_times("bursty", 50.0, Random(2)), 20_000)]
    assert times == sorted(times)
    assert abs(fmean(time % 1 for time in times) - 0.5) < _SIGMAS / math.sqrt(12 * len(times))
    assert sum(time % 1 < 0.25 for time in times) / len(times) == pytest.approx(0.25, abs=0.015)


def test_rare_bursts_come_too() -> None:
    assert next(arrival_times("bursty", 0.001, Random(3))) > 0


@pytest.mark.parametrize("arrival", [*ARRIVALS])
def test_the_same_seed_is_the_same_arrivals(arrival: str) -> None:
    first, again = ([*itertools.islice(arrival_times(arrival, 3.0, Random(7)), 200)] for _ in range(2))
    assert first == again
    check_arrival(arrival)


def test_an_unknown_process_names_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match="constant, poisson, bursty"):
        check_arrival("sometimes")
