"""Whether values follow the order in which they came."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import groupby


def rank_correlation(values: Sequence[float]) -> float:
    """Of values with their places, from -1 (falling throughout) to 1 (rising throughout): Spearman, 1904.

    Equal values share the mean of their ranks. Of fewer than two values, or if all are equal, 0.
    """
    ranks = _ranks(values)
    if len(set(ranks)) < 2:
        return 0.0
    return statistics.correlation(ranks, range(len(ranks)))


def _ranks(values: Sequence[float]) -> list[float]:
    order = sorted(range(len(values)), key=lambda place: values[place])
    ranks, done = [0.0] * len(values), 0
    for _, tied in groupby(order, key=lambda place: values[place]):
        places = list(tied)
        for place in places:
            ranks[place] = done + (len(places) - 1) / 2
        done += len(places)
    return ranks
