"""Distributions by their share at or below a value, as tables of published traffic give them."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

Below = Callable[[float], float]
"""The share of a distribution at or below a value."""


def lognormal(median: float, sigma: float, cap: float = math.inf, shift: float = 0.0) -> Below:
    def below(value: float) -> float:
        if value >= cap:
            return 1.0
        return NormalDist(0, sigma).cdf(math.log((value - shift) / median)) if value > shift else 0.0

    return below


def clamped_normal(mean: float, deviation: float, least: float, most: float) -> Below:
    def below(value: float) -> float:
        return float(value >= most) if not least <= value < most else NormalDist(mean, deviation).cdf(value)

    return below


def uniform(least: float, most: float) -> Below:
    return lambda value: min(max((value - least) / (most - least), 0.0), 1.0)


def geometric(mean: float, cap: int = 10_000) -> Below:
    """Cut off at `cap`; the mean is that after the cut."""

    def at_least(start: float, number: int) -> float:
        return math.pow(1 - 1 / start, number - 1)

    # The mean is the sum of the chances to get as far as 1, 2, ... up to the cap.
    start = _solve(lambda start: math.fsum(at_least(start, number) for number in range(1, min(cap, 999) + 1)), mean)
    return lambda value: 1.0 if value >= cap else 1 - at_least(start, math.floor(value) + 1)


def mixture(*parts: tuple[float, Below], cap: float = math.inf) -> Below:
    total = sum(weight for weight, _ in parts)
    return lambda value: 1.0 if value >= cap else sum(weight * below(value) for weight, below in parts) / total


def whole(below: Below) -> Below:
    """The same, rounded to whole numbers."""
    return lambda value: below(math.floor(value) + 0.5)


def up_from_1(below: Below) -> Below:
    """One more than the same rounded down."""
    return lambda value: below(math.floor(value))


def slowest_of(number: int, below: Below) -> Below:
    return lambda value: below(value) ** number


def percentile(below: Below, share: float) -> float:
    """The least value that this share is at or below."""
    exact = _solve(below, share)
    return float(round(exact)) if abs(exact - round(exact)) < 1e-5 else exact


def just_below(value: float, *, is_whole: bool) -> float:
    return value - 1 if is_whole else value * (1 - 1e-9)


def _solve(rising: Callable[[float], float], wanted: float) -> float:
    low, high = 1e-9, 1e7
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) >= wanted else (middle, high)
    return high
