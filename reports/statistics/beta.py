"""The incomplete beta function: the tails of the binomial distribution and of Student's t are made of it."""

from __future__ import annotations

import math

_TINY = 1e-300
_MOST_TERMS = 300
_SAME = 1e-12


def incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function (Numerical Recipes, 6.4), for 0 <= x <= 1 and positive `a` and `b`."""
    if x in (0.0, 1.0):
        return x
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    if x < (a + 1) / (a + b + 2):
        return math.exp(log_front) * _continued_fraction(x, a, b) / a
    return 1 - math.exp(log_front) * _continued_fraction(1 - x, b, a) / b


def _continued_fraction(x: float, a: float, b: float) -> float:
    """By the modified method of Lentz."""
    c, d = 1.0, 1 / _large_enough(1 - (a + b) * x / (a + 1))
    result = d
    for term in range(1, _MOST_TERMS):
        for factor in (
            term * (b - term) * x / ((a + 2 * term - 1) * (a + 2 * term)),
            -(a + term) * (a + b + term) * x / ((a + 2 * term) * (a + 2 * term + 1)),
        ):
            d = 1 / _large_enough(1 + factor * d)
            c = _large_enough(1 + factor / c)
            result *= c * d
        if abs(c * d - 1) < _SAME:
            break
    return result


def _large_enough(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
