"""Student's t distribution: what the noise of an estimate does to an interval when it is itself an estimate."""

from __future__ import annotations

import math
from statistics import NormalDist

from .beta import incomplete_beta


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
    return 1 - incomplete_beta(degrees / (degrees + deviation * deviation), degrees / 2, 0.5)
