"""Intervals of single runs hold the truth where requests wait for each other, and pass nothing that they should not.

Sixty runs each, with seeds that stay: bounds leave three standard deviations of a binomial count.
`tests/benchmarks/coverage.py` has more runs and queues.
"""

from __future__ import annotations

from collections import Counter

import pytest
from benchmarks.coverage import inverted, outcomes
from support.known_queues import KnownQueue, independent, queueing, remembering, stalling

_RUNS = 60


@pytest.mark.parametrize(
    ("queue", "count", "most_open"),
    [
        (independent(), 1000, 9),
        (queueing(0.3), 1000, 30),
        (queueing(0.5), 10_000, 9),
        (queueing(0.8), 3000, 60),
        (remembering(5.0), 3000, 60),
        (stalling(10.0, 0.2), 3000, 9),
    ],
    ids=lambda value: value.name if isinstance(value, KnownQueue) else None,
)
def test_intervals_hold_the_truth_and_pass_nothing_that_is_10_percent_over(
    queue: KnownQueue, count: int, most_open: int
) -> None:
    """At least 93% of them hold it, and at most 5% of gates pass a p99 that is 10% over its bound."""
    come: Counter[str] = Counter()
    for seed in range(_RUNS):
        come.update(outcomes(inverted(queue.blocks(seed, count)), queue))
    assert min(come["p50"], come["p99"], come["p99/p50"]) >= 50, come
    assert come["false pass"] <= 8, come
    assert come["false fail"] <= 4, come
    assert come["no upper end"] <= most_open, come


def test_a_tail_that_is_there_is_flagged() -> None:
    """p99 is 5.3 medians: the bootstrap, which was too sure, flagged 60 of 60."""
    queue = independent(sigma=0.72)
    flagged = sum(outcomes(inverted(queue.blocks(seed, 1000)), queue)["FLAGGED"] for seed in range(_RUNS))
    assert flagged >= 54
