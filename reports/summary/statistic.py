"""The statistics of a latency (percentiles, mean, maximum), and how many samples each one needs."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hdrh.histogram import HdrHistogram

from ..statistics.distribution import Distribution
from ..statistics.estimate import Estimate
from ..statistics.exceedances import Exceedances
from ..statistics.mean_estimate import mean_estimate
from ..statistics.percentile import value_at
from ..statistics.percentile_estimate import percentile_estimate
from .metric import MetricSummary
from .state import min_samples

_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d{1,4})?)")
_IN_SUMMARY = {
    "p50": "p50_ms",
    "p90": "p90_ms",
    "p99": "p99_ms",
    "p99.9": "p999_ms",
    "max": "max_ms",
    "mean": "mean_ms",
}
_LEAST = 10
"""Samples of a mean."""


@dataclass(frozen=True, slots=True)
class Statistic:
    """`p50`, `p99.9`, `mean`, `max`.

    Attributes:
        share: Of the samples, those at or below it; None if it is not a percentile.
    """

    name: str
    share: float | None = None

    @property
    def min_samples(self) -> int:
        """Fewer samples than this cannot carry it."""
        if self.share is None:
            return 1 if self.name == "max" else _LEAST
        return min_samples(self.share)

    @property
    def tail_share(self) -> float:
        """With a larger share than this cut off before their end, the true value may be anything above the measured."""
        return 0.0 if self.share is None else round(1 - self.share, 9)

    @property
    def has_interval(self) -> bool:
        """Whether a run says how far off it may be. It does not of a maximum: another run may have any."""
        return self.name != "max"

    def of(self, measured: MetricSummary, histogram: HdrHistogram | None = None) -> float | None:
        """Its value in milliseconds: of a summary, or of the histogram that it was made of; None if neither has it."""
        if self.name in _IN_SUMMARY:
            value: float = getattr(measured, _IN_SUMMARY[self.name])
            return value
        assert self.share is not None
        if (known := measured.percentiles_ms.get(f"{self.share * 100:g}")) is not None:
            return known
        return None if histogram is None else value_at(histogram, self.share * 100) / 1e3

    def of_distribution(self, distribution: Distribution) -> float:
        """Its value in milliseconds. There must be at least one."""
        return (distribution.mean_us() if self.share is None else distribution.quantile_us(self.share)) / 1e3

    def estimate(self, exceedances: Exceedances) -> Estimate | None:
        """Its value and interval, of a percentile or the mean; None if the run cannot show how much it varies."""
        if self.share is None:
            return mean_estimate(exceedances.blocks)
        return percentile_estimate(exceedances, self.share)


P50, P99 = Statistic("p50", 0.5), Statistic("p99", 0.99)


def find_statistic(name: str) -> Statistic | None:
    """A statistic by name; None if there is none of that name."""
    if name in ("max", "mean"):
        return Statistic(name)
    match = _PERCENTILE.fullmatch(name)
    share = float(match[1]) / 100 if match else 0.0
    return Statistic(name, share) if share > 0 else None
