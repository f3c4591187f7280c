"""Student's t distribution: what the noise of an estimate does to an interval when it is itself an estimate."""

from __future__ import annotations

import math
from statistics import NormalDist

_TINY = 1e-300
_MOST_TERMS = 300
_SAME = 1e-12


def two_sided_quantile(confidence: float, degrees: float) -> float:
    """How many standard errors an estimate with these degrees of freedom may be off, at this confidence (0 to 1)."""
    low, high = 0.0, 2.0
    while _share_within(high, degrees) < confidence:
        high *= 2
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        if _share_within(middle, degrees) < confidence:
            low = middle
        else:
            high = middle
    return high


def chi_square_quantile(share: float, degrees: float) -> float:
    """The chi-square distribution's quantile, to a percent or so (Wilson and Hilferty, 1931)."""
    spread = 2 / (9 * degrees)
    cube_root: float = 1 - spread + NormalDist().inv_cdf(share) * math.sqrt(spread)
    return degrees * max(cube_root, 0.0) ** 3


def _share_within(deviation: float, degrees: float) -> float:
    """Share of the distribution between -deviation and +deviation (Abramowitz and Stegun, 26.7.1 by 26.5.27)."""
    return 1 - _incomplete_beta(degrees / (degrees + deviation * deviation), degrees / 2, 0.5)


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function (Numerical Recipes, 6.4), for 0 <= x <= 1."""
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
