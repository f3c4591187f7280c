"""Values of a stretch of time, laid out for percentiles and means."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate

from .log_buckets import bucket_us
from .percentile import rank_at


class Distribution:
    """Counts by bucket of some blocks together."""

    __slots__ = ("_buckets", "_counts", "_cumulative")

    def __init__(self, blocks: Iterable[Counter[int]]) -> None:
        together: Counter[int] = Counter()
        for block in blocks:
            together.update(block)
        self._buckets = sorted(together)
        self._counts = [together[bucket] for bucket in self._buckets]
        self._cumulative = list(accumulate(self._counts))

    def quantile_us(self, share: float) -> float:
        """By nearest rank. There must be at least one value."""
        rank = rank_at(100 * share, self._cumulative[-1])
        return bucket_us(self._buckets[bisect_left(self._cumulative, rank)])

    def mean_us(self) -> float:
        """The average. There must be at least one value."""
        total_us = sum(count * bucket_us(bucket) for bucket, count in zip(self._buckets, self._counts, strict=True))
        return total_us / self._cumulative[-1]


OfDistribution = Callable[[Distribution], float]
"""A statistic: a percentile, the mean, or a ratio of two."""


@dataclass(frozen=True, slots=True)
class RatioOf:
    """One statistic over another."""

    over: OfDistribution
    under: OfDistribution

    def __call__(self, distribution: Distribution) -> float:
        """Its value."""
        return self.over(distribution) / self.under(distribution)
