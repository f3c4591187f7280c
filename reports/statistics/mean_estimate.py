"""A mean with its confidence interval, from the means of blocks of time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from .estimate import Estimate
from .exceedances import memory_of
from .interval import CONFIDENCE
from .log_buckets import BUCKET_WIDTH, bucket_us
from .students_t import two_sided_quantile

_LEAST_BLOCKS = 4.0


def mean_estimate(blocks: Sequence[Counter[int]]) -> Estimate | None:
    """The mean of all values; None if the blocks cannot show how much it varies.

    Batch means (Law, Simulation Modeling and Analysis, 9.5.3) with blocks of different sizes, the same memory of the
    blocks as percentiles have, and Student's t on the logarithm: a mean of latencies is above 0 and skewed. It always
    has an upper end, since a mean cannot be bounded without assuming something of what the run did not see.
    """
    used = [block for block in blocks if block]
    sizes = [block.total() for block in used]
    sums_us = [sum(count * bucket_us(bucket) for bucket, count in block.items()) for block in used]
    if len(used) < _LEAST_BLOCKS:
        return None
    mean_us = sum(sums_us) / sum(sizes)
    residuals = [total - mean_us * size for total, size in zip(sums_us, sizes, strict=True)]
    squares, factor = memory_of(residuals)
    effective_blocks = len(used) / factor
    if effective_blocks < _LEAST_BLOCKS:
        return None
    error = math.sqrt(squares * len(used) / (len(used) - 1) * factor) / sum(sums_us)
    reach = math.exp(two_sided_quantile(CONFIDENCE, effective_blocks - 1) * error) * BUCKET_WIDTH
    return Estimate(mean_us, mean_us / reach, mean_us * reach, residuals)
