"""Percentiles with confidence intervals, by inverting a test over blocks of time.

A value lies in the interval of a percentile if the share of values above it agrees with the percentile's (Woodruff,
1952). That share is as uncertain as it varies from block to block: the values count for fewer independent ones, by the
design effect with the memory of the blocks in it (Bayley and Hammersley, 1946), and get the exact binomial interval of
that many (Korn and Graubard, 1998).

A block bootstrap was used first. No resample has more in it than the run has seen, so its upper end was too low where
tails are worst: at a load of 0.8, its 95% interval of p99 held the truth in every fourth run of 1,000 requests
(docs/benchmarks.md). This one has no upper end if even the largest value may lie below the percentile.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from statistics import NormalDist

from .beta import incomplete_beta
from .estimate import Estimate, quotient
from .exceedances import Edge, Exceedances
from .interval import CONFIDENCE, Interval
from .log_buckets import bucket_us, lower_end_us, upper_end_us
from .students_t import two_sided_quantile

_REJECTED = (1 - CONFIDENCE) / 2
_DEVIATIONS = NormalDist().inv_cdf(1 - _REJECTED)
_TAIL = 3.0
"""Where less is above than three times the percentile's share, a run may have seen its clusters only in part."""
_LEAST_BLOCKS = 4.0
"""Independent ones; fewer cannot show how much a run varies."""
_MOST_DEGREES = 63.0
"""Of freedom: a run has at most 64 blocks."""
_HARDLY = 1.0
"""Standard errors within which a share is never rejected."""
_NORMAL = 1000.0
"""Variance of a count from which on a binomial distribution is as good as normal."""


@dataclass(frozen=True, slots=True)
class BucketRange:
    """The bucket that a percentile lies in, and between which buckets it probably lies.

    Attributes:
        high: None if there is no upper end.
    """

    low: int
    at: int
    high: int | None


def percentile_buckets(exceedances: Exceedances, share: float) -> BucketRange | None:
    """The percentile of this share (above 0, below 1); None if the blocks cannot show how much it varies.

    Buckets need not be those of times: any whole numbers in the order of the values will do.
    """
    beyond = 1 - share
    edges = _cautious(exceedances.edges, beyond)
    num_above = sum(edge.above <= beyond + 1e-9 for edge in edges)
    if num_above == 0 or edges[num_above - 1].effective_blocks < _LEAST_BLOCKS:
        return None
    at = num_above - 1
    places = range(len(edges))
    highest = next((place for place in places if _side(edges[place], exceedances.count, beyond) <= 0), len(edges))
    return BucketRange(
        low=min(_lowest(edges, exceedances.count, beyond), edges[at].bucket),
        at=edges[at].bucket,
        high=None if highest == 0 else edges[min(highest - 1, at)].bucket,
    )


def percentile_estimate(exceedances: Exceedances, share: float) -> Estimate | None:
    """Likewise, of buckets of times."""
    found = percentile_buckets(exceedances, share)
    if found is None:
        return None
    top = _cautious(exceedances.edges, 1 - share)[0] if found.high is None else None
    return Estimate(
        value_us=bucket_us(found.at),
        low_us=lower_end_us(found.low),
        high_us=math.inf if found.high is None else upper_end_us(found.high),
        residuals=exceedances.residuals(found.at),
        samples_needed=None if top is None else _samples_needed(top, exceedances.count, share),
        share=share,
    )


def ratio_interval(exceedances: Exceedances, over: Estimate, under: Estimate) -> Interval:
    """The interval of a ratio of two statistics of one run.

    Of a percentile over a lower one, the lower end is the lowest multiple of `under` above which the share of values
    agrees with that of `over`: one test of what is claimed, such as "more than 1% of all requests took longer than
    three medians". The intervals of the two (MOVER) would say less: where requests wait for each other, what makes many
    of them slow makes the median slow as well. So high up that hardly any values are left, no slope can be seen: there
    the upper end comes from MOVER.
    """
    interval = quotient(over, under)
    if over.share is None or under.share is None or over.share <= under.share:
        return interval
    beyond = 1 - over.share
    lowest = _lowest(_cautious(exceedances.edges_over(under.share), beyond), exceedances.count, beyond)
    low_us = lower_end_us(max(lowest - exceedances.jump(under.share, under.high_us), 0))
    return Interval(round(min(low_us, over.value_us) / under.value_us, 4), interval.high)


def fewest_samples(share: float) -> int:
    """How many samples it takes to bound a percentile from above, if each is independent: 310 for p99, 61 for p95.

    Of fewer, all may lie below the percentile by chance.
    """
    return math.ceil(_fewest(share) * (_t_quantile(_MOST_DEGREES) / _DEVIATIONS) ** 2)


def _fewest(share: float) -> float:
    return math.log(2 * _REJECTED) / math.log(share)


def _cautious(edges: Sequence[Edge], beyond: float) -> list[Edge]:
    """In the tail, as noisy as anything below has shown itself: the highest clusters are never seen whole."""
    num_tail = sum(edge.above <= _TAIL * beyond for edge in edges)
    tail = edges[:num_tail][::-1]
    effects = accumulate((edge.design_effect for edge in tail), max)
    blocks = accumulate((edge.effective_blocks for edge in tail), min)
    cautious = [Edge(edge.bucket, edge.above, *noise) for edge, *noise in zip(tail, effects, blocks, strict=True)]
    return [*reversed(cautious), *edges[num_tail:]]


def _lowest(edges: Sequence[Edge], count: int, beyond: float) -> int:
    """The bucket of the lowest edge that so large a share may lie above."""
    return next(edge.bucket for edge in reversed(edges) if _side(edge, count, beyond) >= 0)


def _side(edge: Edge, count: int, beyond: float) -> int:
    """1 if so little is above an edge that it is higher than the percentile, -1 if so much that it is lower, else 0."""
    effective = effective_count(edge, count)
    variance = effective * beyond * (1 - beyond)
    deviation = (edge.above - beyond) * effective / math.sqrt(variance)
    side = 1 if deviation < 0 else -1
    if abs(deviation) < _HARDLY and edge.above > 0:
        return 0
    if variance > _NORMAL:
        return side if abs(deviation) > _DEVIATIONS else 0
    # The exact tail is slow, and for most edges its upper bound will do.
    if math.exp(-effective * _divergence(edge.above, beyond)) < _REJECTED / 4:
        return side
    return side if _tail(edge.above * effective, effective, beyond, side) < _REJECTED else 0


def _divergence(share: float, of: float) -> float:
    """Kullback and Leibler's, which bounds the tail of a binomial distribution (Chernoff, 1952)."""
    log, rest = math.log, 1 - share
    return (share * log(share / of) if share > 0 else 0.0) + (rest * log(rest / (1 - of)) if rest > 0 else 0.0)


def effective_count(edge: Edge, count: int) -> float:
    """How many independent values so many are worth.

    They are fewer still where the design effect is estimated from few blocks (Korn and Graubard).
    """
    degrees = max(1.0, edge.effective_blocks - 1)
    return count / edge.design_effect * (_DEVIATIONS / _t_quantile(math.floor(4 * degrees) / 4)) ** 2


@cache
def _t_quantile(degrees: float) -> float:
    return two_sided_quantile(CONFIDENCE, degrees)


def _tail(num: float, of: float, probability: float, side: int) -> float:
    """How likely at most (side 1) or at least (-1) so many of so many are; what is equal counts by half (mid-p).

    By the beta function, which the binomial distribution's tails are made of, and which takes numbers between.
    """
    at_least = incomplete_beta(probability, num, of - num + 1) if num > 0 else 1.0
    more = incomplete_beta(probability, num + 1, of - num) if num < of else 0.0
    likely = (at_least + more) / 2
    return 1 - likely if side > 0 else likely


def _samples_needed(top: Edge, count: int, share: float) -> int:
    """If the rest of the run is as noisy as what was seen."""
    return math.ceil(count * _fewest(share) / effective_count(top, count))
