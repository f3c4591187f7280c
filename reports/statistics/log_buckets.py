"""Times counted in logarithmic buckets of half a percent: finer than any interval or chart made of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from .percentile import rank_at, value_at_rank

_BUCKETS_PER_E = 200
BUCKET_WIDTH = math.exp(1 / _BUCKETS_PER_E)
"""A bucket's upper end over its lower one."""


def buckets_of(values_us: Sequence[int]) -> list[int]:
    """The bucket of each value; values up to 1 us share the first one."""
    log = math.log
    return [int(log(value_us) * _BUCKETS_PER_E) if value_us > 1 else 0 for value_us in values_us]


def bucket_us(bucket: int) -> float:
    """The middle of a bucket, in microseconds."""
    return math.exp((bucket + 0.5) / _BUCKETS_PER_E)


def lower_end_us(bucket: int) -> float:
    """Where a bucket begins, in microseconds; the first one at 0."""
    return math.exp(bucket / _BUCKETS_PER_E) if bucket else 0.0


def upper_end_us(bucket: int) -> float:
    """Where a bucket ends, in microseconds."""
    return math.exp((bucket + 1) / _BUCKETS_PER_E)


def quantile_us(counts: Counter[int], share: float) -> float:
    """A quantile (0 to 1) of counts by bucket, by nearest rank. There must be at least one."""
    return bucket_us(quantile_bucket(counts, share))


def quantile_bucket(counts: Counter[int], share: float) -> int:
    """The bucket that a quantile (0 to 1) lies in. There must be at least one value."""
    return value_at_rank(sorted(counts.items()), rank_at(100 * share, counts.total()))


def num_above(counts: Counter[int], bucket: int) -> int:
    """How many values lie in higher buckets."""
    return sum(count for place, count in counts.items() if place > bucket)
