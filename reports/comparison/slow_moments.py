"""Rare slow moments of two targets: stalls that move no percentile, seen in which side the slowest requests are on.

Of the requests beyond the pooled p99, those of neighbouring stretches of time are one event, as are those that lie no
further apart than a stretch is remembered, and an event falls to either side by chance if both targets are alike. Eight
freezes of two seconds against none are told in this way; the interval of the p99, a mean over stretches most of which
have no freeze, tells them in every other comparison. Four against none are p = 0.125, which no method changes.
docs/benchmarks.md has the figures.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence

import msgspec

from ..formatting import counted, duration
from ..statistics.exceedances import memory_of
from ..statistics.interval import CONFIDENCE
from ..statistics.log_buckets import bucket_us, num_above, quantile_bucket
from ..statistics.rare_events import chance_of_split, in_events
from ..statistics.time_blocks import TimeBlocks

LOOKED_AT = ("ttft", "max_gap")
"""A stall shows in the first token of what arrives in it, and in a gap of what is being answered."""
_BEYOND = 0.01
_LEAST_SAMPLES = 300
"""Of each side: fewer have no slowest hundredth to speak of."""


class SlowMoments(msgspec.Struct, kw_only=True, frozen=True):
    """The slowest 1% of two targets' requests together: which side they are on, and in how many moments.

    Attributes:
        threshold_ms: What they are slower than: the p99 of both targets together.
        first: How many are the first target's, and in how many moments apart. `other` likewise.
        chance: How likely such a difference is between equal targets, for all metrics that are looked at.
    """

    metric: str
    threshold_ms: float
    first: int
    other: int
    first_moments: int
    other_moments: int
    chance: float
    is_other_worse: bool

    @property
    def is_real(self) -> bool:
        """Whether one target is worse."""
        return self.chance < 1 - CONFIDENCE

    def in_words(self, name: str, first: str) -> str:
        """Which of the two is worse, and by what."""
        verdict = "worse" if self.is_other_worse else "better"
        return (
            f"{name} is {verdict} than {first} in rare slow moments: of the slowest 1% of requests ({self.metric} "
            f"above {duration(self.threshold_ms)}), {name} has {_spread(self.other, self.other_moments)} and {first} "
            f"{_spread(self.first, self.first_moments)} (p = {self.chance:.2g})."
        )


def _spread(requests: int, moments: int) -> str:
    return f"{requests:,} in {counted(moments, 'moment')}" if requests else "none"


def slow_moments(metric: str, first: Sequence[TimeBlocks], other: Sequence[TimeBlocks]) -> SlowMoments | None:
    """The slowest of two targets; None if there are too few samples.

    Args:
        metric: Its name.
        first: Its values in each round of the first target.
        other: In each round of the other.
    """
    block_s = max((one.block_s for one in (*first, *other)), default=0.0)
    sides = [[one.in_blocks_of(block_s) for one in rounds] for rounds in (first, other)]
    totals = [_total(rounds) for rounds in sides]
    sizes = [total.total() for total in totals]
    if min(sizes) < _LEAST_SAMPLES:
        return None
    threshold = quantile_bucket(totals[0] + totals[1], 1 - _BEYOND)
    counts = [[[num_above(block, threshold) for block in blocks] for blocks in rounds] for rounds in sides]
    usual = int(statistics.median(count for rounds in counts for blocks in rounds for count in blocks))
    gap = max(_remembered(rounds) for rounds in sides) - 1
    events = [[size for blocks in rounds for size in in_events(blocks, usual, gap)] for rounds in counts]
    share = sizes[0] / sum(sizes)
    numbers = [num_above(total, threshold) for total in totals]
    return SlowMoments(
        metric=metric,
        threshold_ms=round(bucket_us(threshold) / 1e3, 3),
        first=numbers[0],
        other=numbers[1],
        first_moments=len(events[0]),
        other_moments=len(events[1]),
        chance=min(1.0, len(LOOKED_AT) * chance_of_split(events[0], events[1], share=share)),
        is_other_worse=sum(events[1]) * share > sum(events[0]) * (1 - share),
    )


def _remembered(rounds: Sequence[Sequence[Counter[int]]]) -> int:
    """For how many stretches what is slow stays slow, by their mean logarithms; 1 if none knows of the one before."""
    blocks = [block for of_round in rounds for block in of_round if block]
    sizes = [block.total() for block in blocks]
    sums = [sum(count * math.log(bucket_us(bucket)) for bucket, count in block.items()) for block in blocks]
    mean = sum(sums) / sum(sizes)
    residuals = [total - mean * size for total, size in zip(sums, sizes, strict=True)]
    _, factor = memory_of(residuals)
    return math.ceil(factor)


def _total(rounds: Sequence[Sequence[Counter[int]]]) -> Counter[int]:
    total: Counter[int] = Counter()
    for blocks in rounds:
        for block in blocks:
            total.update(block)
    return total
