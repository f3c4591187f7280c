"""Slowdowns in numbers: part of summary.json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from ...workloads.bounds import Amount, Count
from ..recording.expectation import FLOOR_SHARE, FittedSizes
from ..recording.idle_model import IdleModel, IdlePoint
from ..recording.recorder import ALL
from ..recording.request_sample import RequestSample
from ..recording.slowdown import SLOWED, Slowdowns, TimeSpent
from ..statistics.exceedances import Exceedances
from ..statistics.interval import Interval
from ..statistics.log_buckets import quantile_us
from ..statistics.percentile import nearest_rank
from ..statistics.percentile_estimate import percentile_estimate
from .state import MIN_SAMPLES

TAIL_SHARE = 0.01
"""The slowest of the requests that `TimeShares.tail` is about, by e2e."""
LEAST_FOR_MEDIAN = 30
"""Requests: fewer say little of a median."""


class SlowdownSummary(msgspec.Struct, kw_only=True):
    """Of one metric and class: latency over the latency of a request of the same size on an idle server.

    Intervals are at 95%; None where a run is too short to tell, and where nothing is random.
    """

    count: Count
    p50: Amount
    p90: Amount
    p99: Amount
    p50_interval: Interval | None = None
    p99_interval: Interval | None = None


class Spent(msgspec.Struct, kw_only=True):
    """What requests spent their time on. `mean_ms`: their mean e2e; shares of it add up to 1.

    Attributes:
        work: What they would have taken on an idle server.
        waiting: What the first token took longer than that.
        interference: What the other tokens took longer.
    """

    requests: Count
    mean_ms: Amount
    work: Amount
    waiting: Amount
    interference: Amount


class TimeShares(msgspec.Struct, kw_only=True):
    """What a class spent its time on: all of its requests, and the slowest 1% of them by e2e."""

    mean: Spent
    tail: Spent


def summarise_slowdowns(slowdowns: Slowdowns, *, is_exact: bool = False) -> dict[str, dict[str, SlowdownSummary]]:
    """By metric, then by class; class `all` is always there. `is_exact`: nothing about them is random."""
    found: dict[str, dict[str, SlowdownSummary]] = {}
    for metric in SLOWED:
        for name in (ALL, *slowdowns.classes):
            blocks = slowdowns.time_blocks(metric, None if name == ALL else name).blocks()
            if blocks:
                found.setdefault(metric, {})[name] = _summarise(blocks, is_exact=is_exact)
    return found


def summarise_time(slowdowns: Slowdowns) -> dict[str, TimeShares]:
    """By class; class `all` is always there, unless no size is known."""
    found = {}
    for name in (ALL, *slowdowns.classes):
        of_class = None if name == ALL else name
        if (mean := slowdowns.spent(of_class)).requests:
            found[name] = TimeShares(mean=_shares(mean), tail=_shares(slowdowns.spent(of_class, TAIL_SHARE)))
    return found


def _summarise(blocks: Sequence[Counter[int]], *, is_exact: bool) -> SlowdownSummary:
    """Of slowdowns in thousandths."""
    total: Counter[int] = Counter()
    for block in blocks:
        total.update(block)
    p50, p90, p99 = (quantile_us(total, share) / 1e3 for share in (0.5, 0.9, 0.99))
    count = total.total()
    exceedances = Exceedances(blocks if count >= LEAST_FOR_MEDIAN and not is_exact else ())
    of_p50 = percentile_estimate(exceedances, 0.5)
    of_p99 = percentile_estimate(exceedances, 0.99) if count >= MIN_SAMPLES else None
    return SlowdownSummary(
        count=count,
        p50=round(p50, 3),
        p90=round(p90, 3),
        p99=round(p99, 3),
        p50_interval=None if of_p50 is None else of_p50.interval_ms,
        p99_interval=None if of_p99 is None else of_p99.interval_ms,
    )


def _shares(spent: TimeSpent) -> Spent:
    total_ms = max(spent.work_ms + spent.waiting_ms + spent.interference_ms, 1e-9)
    return Spent(
        requests=max(1, round(spent.requests)),
        mean_ms=round(total_ms / spent.requests, 3),
        work=round(spent.work_ms / total_ms, 4),
        waiting=round(spent.waiting_ms / total_ms, 4),
        interference=round(spent.interference_ms / total_ms, 4),
    )


def envelope(sample: RequestSample, fitted: FittedSizes) -> Slowdowns:
    """Slowdowns over the run's own fastest requests of each size, for a run whose server was not probed.

    Where all requests waited, these did too: then the slowdowns are too small.
    """
    requests = sample.requests()
    largest = max(request.prefill_tokens for request in requests)
    ends = [IdlePoint(float(tokens), round(fitted.floor_ms(tokens), 4)) for tokens in dict.fromkeys((0, largest))]
    per_token_us = sorted(
        round((request.e2e_ms - request.ttft_ms) * 1e3 / (request.output_tokens - 1))
        for request in requests
        if request.output_tokens > 1
    )
    itl_us = nearest_rank(per_token_us, 100 * FLOOR_SHARE) if per_token_us else 0
    slowdowns = Slowdowns(
        IdleModel(
            requests=len(requests), is_probed=False, points=ends, itl_base_ms=itl_us / 1e3, largest_prompt=largest
        )
    )
    slowdowns.add_sample(sample.evenly())
    return slowdowns
