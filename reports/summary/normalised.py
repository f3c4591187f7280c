"""Tails with the price of the work taken out: what requests took, over what requests of their size should take."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import mul

from ..recording.expectation import FLOOR_SHARE, Expectation, FittedSizes, fit, num_pairs
from ..recording.recorder import ALL
from ..recording.request_sample import RequestSample, SampledRequest
from ..statistics.exceedances import Exceedances
from ..statistics.interval import Interval
from ..statistics.percentile_estimate import percentile_estimate, ratio_interval
from ..statistics.time_blocks import TimeBlocks
from .state import MIN_SAMPLES

_WORTH = 0.8
"""Of the error: a further column must bring it down to that, or the simpler line stands."""
_UNIT = 1e6
"""Quotients are counted like microseconds, in millionths."""


@dataclass(frozen=True, slots=True)
class NormalisedTail:
    """p99 / p50 of what requests took over what they should take; its interval at 95%, None if there is none."""

    ratio: float
    interval: Interval | None


def normalise(
    sample: RequestSample, *, is_exact: bool = False
) -> tuple[FittedSizes | None, dict[tuple[str, str], NormalisedTail]]:
    """What requests of a size should take, and by (metric, class) the tail of what they took over that.

    One line is fitted to all classes: the server's price for a token does not depend on who asks. A request whose size
    is unknown, or that was cut off, counts as the slowest one: with more than 1% of them there is no ratio.

    `is_exact`: nothing about the values is random, so that there are no intervals.
    """
    requests = sample.requests()
    ttfts_ms, e2es_ms = [each.ttft_ms for each in requests], [each.e2e_ms for each in requests]
    prompts = [(each.prefill_tokens,) for each in requests]
    sizes = [(each.prefill_tokens, each.output_tokens) for each in requests]
    # What attends to a cache's tokens can be told from what is long only where a cache had some.
    has_context = any(each.prompt_tokens > each.prefill_tokens for each in requests)
    pairs = [num_pairs(each.prefill_tokens, each.prompt_tokens) for each in requests] if has_context else None
    ttft = _fit_prices(prompts, ttfts_ms, pairs)
    floor = _fit_prices(prompts, ttfts_ms, pairs, share=FLOOR_SHARE)
    e2e = _fit_prices(sizes, e2es_ms, pairs)
    if ttft is None or floor is None or e2e is None:
        return None, {}
    fitted = FittedSizes(
        requests=len(requests),
        ttft_base_ms=round(ttft.base_ms, 4),
        ttft_us_per_token=round(ttft.cost_ms[0] * 1e3, 4),
        floor_base_ms=round(floor.base_ms, 4),
        floor_us_per_token=round(floor.cost_ms[0] * 1e3, 4),
        e2e_base_ms=round(e2e.base_ms, 4),
        e2e_us_per_token=round(e2e.cost_ms[0] * 1e3, 4),
        e2e_us_per_output_token=round(e2e.cost_ms[1] * 1e3, 4),
        ttft_ns_per_pair=round(ttft.cost_ms[-1] * 1e6, 6),
        floor_ns_per_pair=round(floor.cost_ms[-1] * 1e6, 6),
        e2e_ns_per_pair=round(e2e.cost_ms[-1] * 1e6, 6),
    )
    quotients = {
        "ttft": _over([(each.ttft_ms, fitted.ttft_ms(each.prefill_tokens, each.prompt_tokens)) for each in requests]),
        "e2e": _over(
            [
                (each.e2e_ms, fitted.e2e_ms(each.prefill_tokens, each.prompt_tokens, each.output_tokens))
                for each in requests
            ]
        ),
    }
    found = {}
    for metric, values in quotients.items():
        for name in (ALL, *sample.offered):
            tail = _tail(sample, list(zip(requests, values, strict=True)), name, has_interval=not is_exact)
            if tail is not None:
                found[metric, name] = tail
    return fitted, found


def _tail(
    sample: RequestSample, values: Sequence[tuple[SampledRequest, float]], name: str, *, has_interval: bool
) -> NormalisedTail | None:
    """Of a class; None if it has too few requests of known size."""
    ours = [pair for pair in values if name in (ALL, pair[0].traffic_class)]
    if len(ours) < MIN_SAMPLES:
        return None
    offered = sample.offered
    weighted = sorted((value, sample.stands_for(request.traffic_class)) for request, value in ours)
    ratio = _tail_ratio(weighted, sum(offered.values()) if name == ALL else offered[name])
    if ratio is None:
        return None
    evenly = {id(request) for request in sample.evenly()} if name == ALL else None
    counted = ((request.due_s, value) for request, value in ours if evenly is None or id(request) in evenly)
    return NormalisedTail(ratio, _interval(counted) if has_interval else None)


def _interval(values: Iterable[tuple[float, float]]) -> Interval | None:
    """Of p99 / p50 of (when, quotient), with the fitted line held fixed."""
    blocks = TimeBlocks()
    for at_s, value in values:
        blocks.add(at_s, (max(1, round(value * _UNIT)),))
    exceedances = Exceedances(blocks.blocks())
    p50, p99 = percentile_estimate(exceedances, 0.5), percentile_estimate(exceedances, 0.99)
    return None if p50 is None or p99 is None else ratio_interval(exceedances, p99, p50)


def _fit_prices(
    sizes: Sequence[Sequence[float]],
    latencies_ms: Sequence[float],
    pairs: Sequence[float] | None,
    *,
    share: float = 0.5,
) -> Expectation | None:
    """A line whose last cost is that of a pair of tokens: 0 unless pairs explain a good deal that sizes do not."""
    plain = fit(sizes, latencies_ms, share=share)
    if plain is None:
        return None
    plain = Expectation(plain.base_ms, (*plain.cost_ms, 0.0))
    if pairs is None:
        return plain
    rows = [(*size, pair) for size, pair in zip(sizes, pairs, strict=True)]
    with_pairs = fit(rows, latencies_ms, share=share)
    if with_pairs is None or _error(with_pairs, rows, latencies_ms) > _WORTH * _error(plain, rows, latencies_ms):
        return plain
    return with_pairs


def _error(line: Expectation, rows: Sequence[Sequence[float]], latencies_ms: Sequence[float]) -> float:
    """How far off a line is, by the median of relative errors: a few that suffered do not count."""
    least_ms = min(latencies_ms)
    expected_ms = [max(line.base_ms + sum(map(mul, line.cost_ms, row)), least_ms) for row in rows]
    return float(statistics.median(abs(took - due) / due for took, due in zip(latencies_ms, expected_ms, strict=True)))


def _over(latencies_ms: Sequence[tuple[float, float]]) -> list[float]:
    """Each (took, should have taken) as a quotient."""
    # No request should be faster than the fastest there was: one that a cache answers whole has no size at all.
    least_ms = min(took_ms for took_ms, _ in latencies_ms)
    return [took_ms / max(expected_ms, least_ms) for took_ms, expected_ms in latencies_ms]


def _tail_ratio(values: Sequence[tuple[float, float]], offered: int) -> float | None:
    """p99 / p50 of (value, how many it stands for) in order, and of others that are larger; None if p99 is of these."""
    found = []
    for share in (0.5, 0.99):
        ranks = zip(accumulate(weight for _, weight in values), values, strict=True)
        value = next((value for rank, (value, _) in ranks if rank >= share * offered - 1e-6), None)
        if value is None:
            return None
        found.append(value)
    return round(found[1] / found[0], 3)
