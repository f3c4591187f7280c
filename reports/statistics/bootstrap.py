"""Confidence intervals by a block bootstrap over time.

Latencies of one moment go together: a freeze that hits forty requests is one event, not forty samples. So whole
stretches of the run are resampled, not requests (circular block bootstrap: Politis and Romano, 1992).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from operator import mul
from random import Random

from .interval import CONFIDENCE, Interval
from .log_buckets import BUCKET_WIDTH, bucket_us
from .percentile import rank_at

RESAMPLES = 400
_STRETCHES = 16
"""A stretch is a sixteenth of the run: longer than most stalls, and still enough of them to vary."""
_LEAST_BLOCKS = 8
"""Fewer cannot show how much a run varies."""


class Distribution:
    """Counts by block, laid out for fast quantiles of resamples."""

    def __init__(self, blocks: Sequence[Counter[int]]) -> None:
        self.num_blocks = len(blocks)
        self.buckets = sorted(set().union(*blocks)) if blocks else []
        running = [0] * len(blocks)
        self.cumulative: list[tuple[int, ...]] = []
        """By bucket: how many values of each block are in it or below."""
        for bucket in self.buckets:
            for index, block in enumerate(blocks):
                if bucket in block:
                    running[index] += block[bucket]
            self.cumulative.append(tuple(running))
        self.sums_us = [sum(count * bucket_us(bucket) for bucket, count in block.items()) for block in blocks]


class Resample:
    """A distribution whose blocks are each there as often as its weight says. Quantiles are found once."""

    __slots__ = ("_distribution", "_quantiles_us", "_weights")

    def __init__(self, distribution: Distribution, weights: Sequence[int]) -> None:
        self._distribution = distribution
        self._weights = weights
        self._quantiles_us: dict[float, float] = {}

    def count(self) -> int:
        """How many values."""
        cumulative = self._distribution.cumulative
        return sum(map(mul, self._weights, cumulative[-1])) if cumulative else 0

    def quantile_us(self, share: float) -> float:
        """By nearest rank. The resample must not be empty."""
        if share not in self._quantiles_us:
            self._quantiles_us[share] = self._find_us(share)
        return self._quantiles_us[share]

    def mean_us(self) -> float:
        """The average. The resample must not be empty."""
        total_us: float = sum(map(mul, self._weights, self._distribution.sums_us))
        return total_us / self.count()

    def _find_us(self, share: float) -> float:
        weights, cumulative = self._weights, self._distribution.cumulative
        rank = rank_at(100 * share, self.count())
        low, high = 0, len(cumulative) - 1
        while low < high:
            middle = (low + high) // 2
            if sum(map(mul, weights, cumulative[middle])) >= rank:
                high = middle
            else:
                low = middle + 1
        return bucket_us(self._distribution.buckets[low])


OfResample = Callable[[Resample], float]
"""A statistic of a resample: a percentile, or a ratio of two."""


def p50_ms(resample: Resample) -> float:
    """The median."""
    return resample.quantile_us(0.5) / 1e3


def p99_ms(resample: Resample) -> float:
    """The 99th percentile."""
    return resample.quantile_us(0.99) / 1e3


def tail_ratio(resample: Resample) -> float:
    """p99 / p50."""
    return resample.quantile_us(0.99) / resample.quantile_us(0.5)


def resampled_weights(num_blocks: int, random: Random) -> list[int]:
    """How often each block is in a resample: stretches of neighbouring blocks, drawn with replacement."""
    length = max(1, num_blocks // _STRETCHES)
    weights = [0] * num_blocks
    for _ in range(math.ceil(num_blocks / length)):
        start = random.randrange(num_blocks)
        for place in range(start, start + length):
            weights[place % num_blocks] += 1
    return weights


def intervals(blocks: Sequence[Counter[int]], statistics: Sequence[OfResample]) -> list[Interval] | None:
    """The interval of each statistic; None where there are too few blocks of time to tell. The same each time."""
    distribution = Distribution(blocks)
    if sum(1 for block in blocks if block) < _LEAST_BLOCKS:
        return None
    random = Random("bootstrap")
    drawn: list[list[float]] = [[] for _ in statistics]
    while len(drawn[0]) < RESAMPLES:
        resample = Resample(distribution, resampled_weights(distribution.num_blocks, random))
        if resample.count() == 0:
            continue
        for values, statistic in zip(drawn, statistics, strict=True):
            values.append(statistic(resample))
    return [percentile_interval(values) for values in drawn]


def percentile_interval(values: Sequence[float]) -> Interval:
    """The middle 95% of what was drawn, and as much more as buckets are wide."""
    ordered = sorted(values)
    cut = int(len(ordered) * (1 - CONFIDENCE) / 2)
    return Interval(round(ordered[cut] / BUCKET_WIDTH, 4), round(ordered[-1 - cut] * BUCKET_WIDTH, 4))
