"""How many values lie above each edge between buckets, block by block of time, and how much that says.

Latencies of one moment go together: a freeze that hits forty requests is one event, not forty samples. How far they do
is seen in the blocks: a share that varies more from block to block than a coin's would is worth fewer values.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import mul

from .log_buckets import bucket_us, num_above

_MOST_MEMORY = 0.9
_NEXT = 0.4
"""Of the values above a percentile, how many show how densely they lie there."""
_MOST = 0.8
"""Of the values above a gap, how many show how densely they lie there: without the highest, which are far apart."""


@dataclass(frozen=True, slots=True)
class Edge:
    """The upper end of a bucket.

    Attributes:
        above: Share of the values above it.
        design_effect: How many of these values are worth one independent one (Kish, Survey Sampling, 1965); at least 1.
        effective_blocks: How many independent blocks the blocks are worth (Bayley and Hammersley, 1946).
    """

    bucket: int
    above: float
    design_effect: float
    effective_blocks: float


class Exceedances:
    """Values by bucket and block of time, seen from every edge."""

    def __init__(self, blocks: Sequence[Counter[int]]) -> None:
        """`blocks`: in order of time. Those without values say nothing and are left out."""
        self.blocks = [block for block in blocks if block]
        self._sizes = [block.total() for block in self.blocks]
        self._by_bucket: dict[int, list[tuple[int, int]]] = {}
        """The blocks by number that have values in a bucket, and how many."""
        for place, block in enumerate(self.blocks):
            for bucket, count in block.items():
                self._by_bucket.setdefault(bucket, []).append((place, count))
        self._buckets = sorted(self._by_bucket)
        self.count = sum(self._sizes)
        """Of all values."""
        self.edges = self._edges(_Sums(self._sizes), dict.fromkeys(self._buckets, 0.0))
        """From the largest value down, one for each bucket that has any."""
        self._shares = [edge.above for edge in self.edges]

    def edges_over(self, share: float) -> list[Edge]:
        """The edges from a percentile on (share above 0, below 1), as multiples of it.

        If the run's median is too low by chance, so is three times that median, and too much lies above it. So the
        percentile's own residuals are taken off, times a slope: how densely values lie above the multiple, over how
        densely they lie above the percentile (Bahadur, 1966). There must be at least one value.
        """
        at = self.bucket_at(share)
        reach = self.bucket_at(share + _NEXT * (1 - share)) - at

        def num_next(bucket: int) -> float:
            return self._share_above(bucket) - self._share_above(bucket + reach)

        # Without reach so many values are the same that another run would have no other percentile.
        densest = num_next(at) or 1.0
        slopes = {bucket: num_next(bucket) / densest for bucket in self._buckets if bucket >= at}
        return self._edges(_Sums(self._sizes, self.residuals(at)), slopes)

    def jump(self, share: float, high_us: float) -> int:
        """How many buckets a percentile skips, from one heap of values to another, if it is in truth as high as that.

        No slope tells of it. From a value on up, others say how far the percentile goes for each further share; what it
        goes farther on the way to that value is a gap. In a single heap, where values only thin out, there is none.
        """
        beyond, at, skipped = 1 - share, self.bucket_at(share), 0.0
        for before, after in pairwise(self._buckets[bisect_left(self._buckets, at) :]):
            if bucket_us(after) >= high_us:
                break
            rest = self._share_above(before)
            pace = (self._bucket_below(rest * (1 - _MOST)) - after) / (rest * _MOST)
            skipped = max(skipped, after - at - (beyond - rest) * pace)
        return math.ceil(skipped)

    def bucket_at(self, share: float) -> int:
        """The bucket of a percentile. There must be at least one value."""
        return self._bucket_below(1 - share)

    def _bucket_below(self, share: float) -> int:
        """The lowest one that no larger a share of values is above."""
        return self.edges[bisect_right(self._shares, share + 1e-9) - 1].bucket

    def _share_above(self, bucket: int) -> float:
        """Of any bucket, with or without values."""
        place = bisect_right(self._buckets, bucket)
        return self.edges[-place].above if place else 1.0

    def residuals(self, bucket: int) -> list[float]:
        """By block: values above a bucket, less what they would be if all blocks had the same share."""
        above = [num_above(block, bucket) for block in self.blocks]
        share = sum(above) / self.count
        return [here - share * size for here, size in zip(above, self._sizes, strict=True)]

    def _edges(self, sums: _Sums, slopes: dict[int, float]) -> list[Edge]:
        """`slopes`: by bucket, from the smallest up."""
        edges = []
        for bucket in reversed(slopes):
            edges.append(Edge(bucket, *sums.measures(slopes[bucket])))
            for place, count in self._by_bucket[bucket]:
                sums.add(place, count)
        return edges


class _Sums:
    """Sums over the blocks of y (values above) and m (all values), kept up while values are added one bucket at a time.

    With r = y - p m - s u, the sum of r^2 and that of each r times the next are made of them without a walk over the
    blocks. u are residuals of one bucket, whose sum is 0; s is a slope.
    """

    def __init__(self, sizes: Sequence[int], of_one: Sequence[float] = ()) -> None:
        """`of_one`: u; without it all are 0."""
        self._count = sum(sizes)
        self._sizes = sizes
        self._beside = _neighbours(sizes)
        self._m_m = sum(size * size for size in sizes)
        self._m_next_m = sum(map(mul, sizes, sizes[1:]))
        self._u = of_one or [0.0] * len(sizes)
        self._u_beside = _neighbours(self._u)
        self._u_u = sum(one * one for one in self._u)
        self._u_next_u = sum(map(mul, self._u, self._u[1:]))
        self._m_u = sum(map(mul, sizes, self._u))
        self._m_u_beside = sum(map(mul, sizes, self._u_beside))
        self._above = [0] * (len(sizes) + 2)
        """With nothing before the first block and nothing behind the last."""
        self._total = self._y_y = self._y_m = self._y_next_y = 0
        self._y_beside = self._y_u = self._y_u_beside = 0.0

    def add(self, place: int, count: int) -> None:
        """Count so many more values of a block as above."""
        above = self._above
        here = above[place + 1]
        self._y_y += count * (2 * here + count)
        self._y_m += count * self._sizes[place]
        self._y_next_y += count * (above[place] + above[place + 2])
        self._y_beside += count * self._beside[place]
        self._y_u += count * self._u[place]
        self._y_u_beside += count * self._u_beside[place]
        self._total += count
        above[place + 1] = here + count

    def measures(self, slope: float) -> tuple[float, float, float]:
        """Share above, design effect and effective blocks."""
        num_blocks, share = len(self._sizes), self._total / self._count
        squares: float = self._y_y - 2 * share * self._y_m + share * share * self._m_m
        least = 1e-9 * (1 + squares)
        squares += slope * (slope * self._u_u - 2 * (self._y_u - share * self._m_u))
        if squares <= least or share == 0 or num_blocks < 2:
            return share, 1.0, float(num_blocks)
        products: float = self._y_next_y - share * self._y_beside + share * share * self._m_next_m
        products += slope * (slope * self._u_next_u - (self._y_u_beside - share * self._m_u_beside))
        factor = memory_factor(squares, products, num_blocks)
        variance = squares * num_blocks / (num_blocks - 1) * factor
        return share, max(1.0, variance / (self._count * share * (1 - share))), num_blocks / factor


def _neighbours(values: Sequence[float]) -> list[float]:
    """By place, the sum of the values before and after it."""
    return [before + after for before, after in zip([0, *values[:-1]], [*values[1:], 0], strict=True)]


def memory_of(residuals: Sequence[float]) -> tuple[float, float]:
    """Of residuals by block: the sum of their squares, and the factor of `memory_factor`."""
    squares = sum(residual * residual for residual in residuals)
    products = sum(map(mul, residuals, residuals[1:]))
    return squares, memory_factor(squares, products, len(residuals))


def memory_factor(squares: float, products: float, num_blocks: int) -> float:
    """By how much the memory from block to block adds to the variance of a sum over them; at least 1.

    Bayley and Hammersley, 1946, with a memory that fades from block to block at a constant rate.

    Args:
        squares: The sum of squares of the blocks' residuals.
        products: That of each residual times the next.
        num_blocks: How many there are.
    """
    if squares <= 0:
        return 1.0
    # Deviations from their own mean seem to alternate: by one over their number (Kendall, 1954).
    memory = min(max(products / squares + 1 / num_blocks, 0.0), _MOST_MEMORY)
    return (1 + memory) / (1 - memory)
