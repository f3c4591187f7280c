"""What a request should have taken, from its own size: fitted to the run itself.

Workload shape alone gives p99/p50 ratios far above 3 on real traces: a prompt of 100,000 tokens takes longer than one
of 100 on any server. Divided by the expectation, what is left is the server's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul, sub
from random import Random

import msgspec

from ...workloads.bounds import Count, Number

FLOOR_SHARE = 0.1
"""Of the requests, the fastest: they waited least."""
_MOST_FITTED = 2000
_MOST_ROUNDS = 100
_SAME = 1e-4
"""The fit has converged once costs change by less than this."""
_LEAST_FITTED = 30


class FittedSizes(msgspec.Struct, kw_only=True):
    """What a request should take by its size: the medians of this run.

    ttft: `ttft_base_ms` + `ttft_us_per_token` for each prompt token that no cache had + `ttft_ns_per_pair` for each of
    these and each token before it, which it attends to; `floor_`: the same for the fastest tenth, which waited least.
    e2e: likewise, and `e2e_us_per_output_token` for each token of output. `requests`: how many it was fitted to.
    """

    requests: Count
    ttft_base_ms: Number
    ttft_us_per_token: Number
    floor_base_ms: Number
    floor_us_per_token: Number
    e2e_base_ms: Number
    e2e_us_per_token: Number
    e2e_us_per_output_token: Number
    ttft_ns_per_pair: Number = 0.0
    floor_ns_per_pair: Number = 0.0
    e2e_ns_per_pair: Number = 0.0

    def ttft_ms(self, prefill_tokens: int, prompt_tokens: int = 0) -> float:
        """Expected time to first token. By default all of the prompt is computed; likewise below."""
        return self.ttft_base_ms + self.tokens_ms(prefill_tokens, prompt_tokens)

    def tokens_ms(self, prefill_tokens: int, prompt_tokens: int) -> float:
        """The part of it that so many tokens of a prompt make up."""
        pairs_ms = self.ttft_ns_per_pair * num_pairs(prefill_tokens, prompt_tokens) / 1e6
        return self.ttft_us_per_token * prefill_tokens / 1e3 + pairs_ms

    def floor_ms(self, prefill_tokens: int, prompt_tokens: int = 0) -> float:
        """What computing the prompt takes, nearly without waiting."""
        pairs_ms = self.floor_ns_per_pair * num_pairs(prefill_tokens, prompt_tokens) / 1e6
        return self.floor_base_ms + self.floor_us_per_token * prefill_tokens / 1e3 + pairs_ms

    def e2e_ms(self, prefill_tokens: int, prompt_tokens: int, output_tokens: int) -> float:
        """Expected time to the end."""
        per_token_us = self.e2e_us_per_token * prefill_tokens + self.e2e_us_per_output_token * output_tokens
        pairs_ms = self.e2e_ns_per_pair * num_pairs(prefill_tokens, prompt_tokens) / 1e6
        return self.e2e_base_ms + per_token_us / 1e3 + pairs_ms


def num_pairs(prefill_tokens: int, prompt_tokens: int) -> float:
    """Of tokens that are computed, at the end of a prompt, and the tokens that they attend to."""
    return prefill_tokens * max(prompt_tokens - prefill_tokens / 2, prefill_tokens / 2)


@dataclass(frozen=True, slots=True)
class Expectation:
    """Milliseconds: base_ms + sum of cost_ms * size. Sizes are what `fit` was given."""

    base_ms: float
    cost_ms: tuple[float, ...]


def fit(sizes: Sequence[Sequence[float]], latencies_ms: Sequence[float], *, share: float = 0.5) -> Expectation | None:
    """The line through the medians, or through another quantile: least absolute deviations relative to the line itself.

    Quantile regression (Koenker and Bassett, 1978) by iteratively reweighted least squares. Half of the requests took
    longer than it says and half shorter, whatever a few of them suffered. No cost is negative: a larger request is
    never expected to be faster. None if there are too few requests.

    Args:
        sizes: Of each request, the same number of sizes.
        latencies_ms: What each took; above 0.
        share: Share of the requests that should lie below the line.
    """
    if len(latencies_ms) < _LEAST_FITTED:
        return None
    chosen: Sequence[int] = range(len(latencies_ms))
    if len(chosen) > _MOST_FITTED:
        chosen = sorted(Random("fit").sample(chosen, _MOST_FITTED))
    rows = [(1.0, *sizes[index]) for index in chosen]
    targets = [latencies_ms[index] for index in chosen]
    # A size that never varies cannot be told from the base.
    columns = [0, *(column for column in range(1, len(rows[0])) if len({row[column] for row in rows}) > 1)]
    while True:
        costs = _fit_columns(rows, targets, columns, share)
        # Sizes go first, then the base: the rest is fitted again, so that the line stays in the middle.
        negative = [place for place, cost in enumerate(costs) if cost < 0]
        if not negative:
            break
        del columns[max(negative, key=lambda place: (columns[place] > 0, -costs[place]))]
    by_column = dict(zip(columns, costs, strict=True))
    return Expectation(by_column.get(0, 0.0), tuple(by_column.get(column, 0.0) for column in range(1, len(rows[0]))))


def _fit_columns(
    rows: Sequence[Sequence[float]], targets: Sequence[float], columns: Sequence[int], share: float
) -> list[float]:
    scales = [max(max(abs(row[column]) for row in rows), 1e-12) for column in columns]
    scaled = [[row[column] / scale for column, scale in zip(columns, scales, strict=True)] for row in rows]
    equations = _NormalEquations(scaled, targets)
    least = min(targets)
    costs = equations.solve([1 / target for target in targets])
    for _ in range(_MOST_ROUNDS):
        weights = []
        for row, target in zip(scaled, targets, strict=True):
            expected = sum(map(mul, costs, row))
            # 1 / |error| makes squares into absolute values. They are relative to what was expected: relative to the
            # target, slow requests would count less than fast ones, and the line lie below the middle.
            unit = max(expected, least)
            side = share if target > expected else 1 - share
            weights.append(side / (max(abs(target - expected), 1e-3 * unit) * unit))
        before, costs = costs, equations.solve(weights)
        if max(map(abs, map(sub, costs, before))) <= _SAME * max(map(abs, costs)):
            break
    return [cost / scale for cost, scale in zip(costs, scales, strict=True)]


class _NormalEquations:
    """Weighted least squares of a few unknowns, for any number of weights of the same rows."""

    def __init__(self, rows: Sequence[Sequence[float]], targets: Sequence[float]) -> None:
        columns = list(zip(*rows, strict=True))
        self._products = [[list(map(mul, first, second)) for second in (*columns, targets)] for first in columns]

    def solve(self, weights: Sequence[float]) -> list[float]:
        """The costs, by elimination with pivots."""
        system = [[sum(map(mul, weights, product)) for product in line] for line in self._products]
        for place, line in enumerate(system):
            line[place] *= 1 + 1e-12  # columns that say the same leave no hole
        for place in range(len(system)):
            pivot = max(range(place, len(system)), key=lambda candidate: abs(system[candidate][place]))
            system[place], system[pivot] = system[pivot], system[place]
            if system[place][place] == 0:
                system[place][place] = 1.0
            for other in range(len(system)):
                if other != place:
                    factor = system[other][place] / system[place][place]
                    system[other] = [
                        mine - factor * theirs for mine, theirs in zip(system[other], system[place], strict=True)
                    ]
        return [line[-1] / line[place] for place, line in enumerate(system)]
