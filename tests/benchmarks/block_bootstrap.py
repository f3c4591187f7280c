"""The intervals that abatch had first, for benchmarks to compare with: percentile intervals of a block bootstrap.

Whole stretches of a run are resampled, not requests (circular block bootstrap: Politis and Romano, 1992).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import accumulate
from operator import mul
from random import Random

from abatch.reports.statistics.interval import CONFIDENCE, Interval
from abatch.reports.statistics.log_buckets import BUCKET_WIDTH, bucket_us
from abatch.reports.statistics.percentile import rank_at

RESAMPLES = 400
_STRETCHES = 16


class Blocks:
    """Counts by block, laid out for fast quantiles of resamples."""

    def __init__(self, blocks: Sequence[Counter[int]]) -> None:
        self.num_blocks = len(blocks)
        self._buckets = sorted(set().union(*blocks))
        by_block = [list(accumulate(block[bucket] for bucket in self._buckets)) for block in blocks]
        self._cumulative = list(zip(*by_block, strict=True))

    def quantile_us(self, share: float, weights: Sequence[int]) -> float:
        """Of a resample in which each block is as often as its weight says."""
        rank = rank_at(100 * share, sum(map(mul, weights, self._cumulative[-1])))
        low, high = 0, len(self._cumulative) - 1
        while low < high:
            middle = (low + high) // 2
            if sum(map(mul, weights, self._cumulative[middle])) >= rank:
                high = middle
            else:
                low = middle + 1
        return bucket_us(self._buckets[low])


OfResample = Callable[[Blocks, Sequence[int]], float]
STATISTICS: dict[str, OfResample] = {
    "p50": lambda blocks, weights: blocks.quantile_us(0.5, weights),
    "p99": lambda blocks, weights: blocks.quantile_us(0.99, weights),
    "p99/p50": lambda blocks, weights: blocks.quantile_us(0.99, weights) / blocks.quantile_us(0.5, weights),
}


def drawn_weights(num_blocks: int, random: Random) -> list[int]:
    """How often each block is in a resample: stretches of neighbouring blocks, drawn with replacement."""
    length = max(1, num_blocks // _STRETCHES)
    weights = [0] * num_blocks
    for _ in range(math.ceil(num_blocks / length)):
        start = random.randrange(num_blocks)
        for place in range(start, start + length):
            weights[place % num_blocks] += 1
    return weights


def bootstrap_intervals(counts: Sequence[Counter[int]]) -> dict[str, Interval]:
    """Of each statistic, in microseconds and as a ratio."""
    blocks, random = Blocks(counts), Random("bootstrap")
    weights = [drawn_weights(blocks.num_blocks, random) for _ in range(RESAMPLES)]
    found = {}
    for name, statistic in STATISTICS.items():
        ordered = sorted(statistic(blocks, one) for one in weights)
        cut = int(RESAMPLES * (1 - CONFIDENCE) / 2)
        found[name] = Interval(ordered[cut] / BUCKET_WIDTH, ordered[-1 - cut] * BUCKET_WIDTH)
    return found
