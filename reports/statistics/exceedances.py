"""How many values lie above each edge between buckets, block by block of time, and how much that says.

Latencies of one moment go together: a freeze that hits forty requests is one event, not forty samples. How far they do
is seen in the blocks: a share that varies more from block to block than a coin's would is worth fewer values.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

_MOST_MEMORY = 0.9


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
        self.count = sum(self._sizes)
        """Of all values."""
        self.edges = self._edges()
        """From the largest value down, one for each bucket that has any."""

    def residuals(self, bucket: int) -> list[float]:
        """By block: values above a bucket, less what they would be if all blocks had the same share."""
        above = [sum(count for place, count in block.items() if place > bucket) for block in self.blocks]
        share = sum(above) / self.count
        return [here - share * size for here, size in zip(above, self._sizes, strict=True)]

    def _edges(self) -> list[Edge]:
        by_bucket: dict[int, list[tuple[int, int]]] = {}
        for place, block in enumerate(self.blocks):
            for bucket, count in block.items():
                by_bucket.setdefault(bucket, []).append((place, count))
        sums = _Sums(self._sizes)
        edges = []
        for bucket in sorted(by_bucket, reverse=True):
            edges.append(Edge(bucket, *sums.measures()))
            for place, count in by_bucket[bucket]:
                sums.add(place, count)
        return edges


class _Sums:
    """Sums over the blocks of y (values above) and m (all values), kept up while values are added one bucket at a time.

    With r = y - p m, the sum of r^2 and that of each r times the next are made of them without a walk over the blocks.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self._count = sum(sizes)
        self._sizes = sizes
        self._beside = [before + after for before, after in zip([0, *sizes[:-1]], [*sizes[1:], 0], strict=True)]
        self._m_m = sum(size * size for size in sizes)
        self._m_next_m = sum(size * after for size, after in itertools.pairwise(sizes))
        self._above = [0] * (len(sizes) + 2)
        """With nothing before the first block and nothing behind the last."""
        self._total = self._y_y = self._y_m = self._y_next_y = self._y_beside = 0

    def add(self, place: int, count: int) -> None:
        """Count so many more values of a block as above."""
        above = self._above
        here = above[place + 1]
        self._y_y += count * (2 * here + count)
        self._y_m += count * self._sizes[place]
        self._y_next_y += count * (above[place] + above[place + 2])
        self._y_beside += count * self._beside[place]
        self._total += count
        above[place + 1] = here + count

    def measures(self) -> tuple[float, float, float]:
        """Share above, design effect and effective blocks."""
        num_blocks, share = len(self._sizes), self._total / self._count
        squares = self._y_y - 2 * share * self._y_m + share * share * self._m_m
        if squares <= 1e-9 or num_blocks < 2:
            return share, 1.0, float(num_blocks)
        products = self._y_next_y - share * self._y_beside + share * share * self._m_next_m
        factor = memory_factor(squares, products, num_blocks)
        variance = squares * num_blocks / (num_blocks - 1) * factor
        return share, max(1.0, variance / (self._count * share * (1 - share))), num_blocks / factor


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
