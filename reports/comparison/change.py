"""How much a latency changed from one target to another, and how far off that may be.

Each run is cut into stretches of time, the statistic is taken of each, and the change is the mean over the stretches of
its logarithm's difference (batch means: Law, Simulation Modeling and Analysis, 9.5.3). So a freeze that hits forty
requests is one event, and what is slow for a while is slow in one stretch. Where both targets got the same traffic,
stretches of the same time are compared: what is hard for one is hard for the other, and no difference between them.

Resampling blocks of the pooled run was tried first. Of two equal servers near saturation it called every
fourth p99 different at 95%: the p99 of a whole run is made in its few worst moments. docs/benchmarks.md
has the figures.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from ..statistics.coarsen import in_parts
from ..statistics.distribution import Distribution, OfDistribution, RatioOf
from ..statistics.interval import Interval
from ..statistics.log_buckets import BUCKET_WIDTH
from ..statistics.students_t import chi_square_quantile, two_sided_quantile
from ..statistics.time_blocks import TimeBlocks, side_by_side

_BUCKET = math.log(BUCKET_WIDTH)
_FEWEST_STRETCHES, _MOST_STRETCHES = 4, 32
"""Of a round; a run that is alone has twice the fewest. Rounds add stretches, not longer ones: the noise of a p99 falls
with the number of stretches, and hardly with their length."""
_SAMPLES_OF_A_STRETCH = 100
"""So that its p99 is more than its worst request."""
_LEAST_SAMPLES = 10
"""Of a stretch; one with fewer is left out."""
_LEAST_USED = 5
"""Stretches; fewer cannot show how much a run varies."""
_MOST_MEMORY = 0.9
_FARTHEST = 30.0
"""Of logarithms: a factor of ten billion either way means that nothing is known."""
_BY_CHANCE = 0.95
"""Rounds that differ by more than this quantile differ by more than chance."""
_CAUTION = 0.8
"""How often the true noise is at most the value used for it."""

Rates = Sequence[Sequence[float]]
Rounds = Sequence[TimeBlocks]
"""The values of a metric in each round of a target."""
_Stretch = Sequence[Counter[int]]


@dataclass(frozen=True, slots=True)
class Change:
    """A quotient, other over first, by its natural logarithm.

    Attributes:
        error: Its standard error.
        degrees: Of freedom, that the error is estimated with.
        is_restless: The rounds differ by more than chance explains; the error is computed from them.
    """

    log_ratio: float
    error: float
    degrees: float
    is_restless: bool = False

    @property
    def ratio(self) -> float:
        """The quotient."""
        return math.exp(self.log_ratio)

    def interval(self, confidence: float) -> Interval:
        """Where the true quotient lies at this confidence (0 to 1)."""
        reach = min(two_sided_quantile(confidence, self.degrees) * self.error + _BUCKET, _FARTHEST)
        return Interval(math.exp(self.log_ratio - reach), math.exp(self.log_ratio + reach))

    def size_factor(self, ratio: float, confidence: float, power: float) -> float:
        """How many times as much must be measured to tell such a quotient from 1 with this power.

        Noise falls with the square root of how much is measured (cf. Cohen, 1988). The noise of this measurement is
        itself an estimate, so an upper bound of it is used.
        """
        cautious = self.error * math.sqrt(self.degrees / chi_square_quantile(1 - _CAUTION, self.degrees))
        reach = two_sided_quantile(confidence, self.degrees) + statistics.NormalDist().inv_cdf(power)
        return (reach * cautious / max(abs(math.log(ratio)) - _BUCKET, _BUCKET)) ** 2


def changes(first: Rounds, other: Rounds, wanted: Sequence[OfDistribution], *, is_paired: bool) -> list[Change | None]:
    """The change of each statistic; None if there are too few stretches of time.

    Args:
        first: Of one target.
        other: Of the other; if paired as many rounds, each with the same traffic as the first's.
        wanted: What is taken of each stretch; above 0.
        is_paired: Whether both got the same traffic.
    """
    every = list(dict.fromkeys(part for statistic in wanted for part in (statistic, *_parts(statistic))))
    if is_paired:
        pairs = [side_by_side(pair) for pair in zip(first, other, strict=True)]
        logs = [_paired_logs(pairs, every)]
    else:
        block_s = max(one.block_s for one in (*first, *other))
        logs = [_round_logs([one.in_blocks_of(block_s) for one in rounds], every) for rounds in (first, other)]
    if min(sum(map(len, by_round)) for by_round in logs) < _LEAST_USED:
        return [None] * len(wanted)
    means = [[_mean_of(statistic, every, by_round) for by_round in logs] for statistic in wanted]
    return [one[0] if is_paired else _difference(*one) for one in means]


def _parts(statistic: OfDistribution) -> tuple[OfDistribution, ...]:
    return (statistic.over, statistic.under) if isinstance(statistic, RatioOf) else ()


def _mean_of(
    statistic: OfDistribution, every: Sequence[OfDistribution], by_round: Sequence[Sequence[Sequence[float]]]
) -> Change:
    """Of one statistic among those that were taken of each stretch.

    A ratio remembers at least as much as its parts: where a queue hardly ever empties, p99 and p50 rise and fall
    together, and it is their few moments apart that make the ratio.
    """
    columns = [
        [[values[every.index(one)] for values in of_round] for of_round in by_round if of_round]
        for one in (statistic, *_parts(statistic))
    ]
    return _mean(columns[0], max(map(_memory, columns)))


def rate_change(first: Rates, other: Rates, *, is_paired: bool) -> Change | None:
    """The change of a rate, from what it was in equal stretches of time; None if there are too few of them.

    A stretch in which nothing ended is a stretch: rates have no logarithms, so relative differences are averaged.

    Args:
        first: Of one target, by round and stretch.
        other: Of the other.
        is_paired: Whether both got the same traffic.
    """
    means = [statistics.fmean(rate for rates in one for rate in rates) if any(one) else 0.0 for one in (first, other)]
    if min(sum(map(len, one)) for one in (first, other)) < _LEAST_USED or not all(means):
        return None
    relative = [
        [[rate / mean for rate in rates] for rates in one] for one, mean in zip((first, other), means, strict=True)
    ]
    if is_paired and [*map(len, first)] == [*map(len, other)]:
        differences = [
            [after - before for before, after in zip(one, two, strict=True)] for one, two in zip(*relative, strict=True)
        ]
        change = _mean(differences, _memory(differences))
    else:
        change = _difference(*(_mean(one, _memory(one)) for one in relative))
    return replace(change, log_ratio=math.log(means[1] / means[0]))


def _difference(first: Change, other: Change) -> Change:
    """Of two means (Welch, 1947)."""
    parts = [(mean.error**2, mean.degrees) for mean in (first, other)]
    variance = sum(part for part, _ in parts)
    weight = sum(part**2 / degrees for part, degrees in parts)
    return Change(
        other.log_ratio - first.log_ratio,
        math.sqrt(variance),
        variance**2 / weight if weight else first.degrees + other.degrees,
        is_restless=first.is_restless or other.is_restless,
    )


def _mean(by_round: Sequence[Sequence[float]], memory: float) -> Change:
    """The mean of values by stretch, with the error that the rounds show if they differ by more than chance.

    What lasts for a whole round, such as other work on the same machine, cannot be seen within rounds. `memory`: of a
    stretch, see `_memory`.
    """
    every = [value for values in by_round for value in values]
    mean, count = statistics.fmean(every), len(every)
    error = statistics.stdev(every) / math.sqrt(count) * math.sqrt((1 + memory) / (1 - memory))
    change = Change(mean, error, max(1.0, count * (1 - memory) / (1 + memory) - 1))
    degrees = len(by_round) - 1
    if degrees < 1:
        return change
    of_rounds = statistics.stdev(map(statistics.fmean, by_round)) / math.sqrt(len(by_round))
    expected = math.hypot(error, _BUCKET / math.sqrt(len(by_round)))
    if of_rounds <= expected * math.sqrt(chi_square_quantile(_BY_CHANCE, degrees) / degrees):
        return change
    return Change(mean, of_rounds, degrees, is_restless=True)


def _memory(by_round: Sequence[Sequence[float]]) -> float:
    """How much of a stretch's deviation the next one keeps, if any: a queue that is long stays long for a while.

    Values with such a memory count for fewer (Bayley and Hammersley, 1946).
    """
    deviations = [[value - statistics.fmean(values) for value in values] for values in by_round]
    total = sum(value * value for values in deviations for value in values)
    if total == 0:
        return 0.0
    kept = sum(one * following for values in deviations for one, following in pairwise(values))
    # Deviations from their own mean seem to alternate, by one over their number, and to remember less than they do, by
    # four times that of it (Kendall, 1954). The second is added where the memory stands out of its own noise.
    count, remembered = sum(map(len, by_round)), kept / total
    lost = 4 * remembered if remembered > 1 / math.sqrt(count) else 0.0
    return min(max(remembered + (1 + lost) * len(by_round) / count, 0.0), _MOST_MEMORY)


def _paired_logs(pairs: Sequence[Sequence[_Stretch]], wanted: Sequence[OfDistribution]) -> list[list[list[float]]]:
    """By round and stretch: the logarithm of other over first, of each statistic."""
    per_round = _per_round([blocks for pair in pairs for blocks in pair], len(pairs))
    found = []
    for first, other in pairs:
        logs = []
        for stretches in zip(in_parts(first, per_round), in_parts(other, per_round), strict=True):
            if all(map(_is_used, stretches)):
                one, two = (_logs(wanted, stretch) for stretch in stretches)
                logs.append([after - before for before, after in zip(one, two, strict=True)])
        found.append(logs)
    return found


def _round_logs(rounds: Sequence[_Stretch], wanted: Sequence[OfDistribution]) -> list[list[list[float]]]:
    """By round and stretch: the logarithm of each statistic."""
    per_round = _per_round(rounds, len(rounds))
    return [
        [_logs(wanted, stretch) for stretch in in_parts(blocks, per_round) if _is_used(stretch)] for blocks in rounds
    ]


def _per_round(samples: Sequence[_Stretch], num_rounds: int) -> int:
    """Stretches of a round, by how many samples it has. `samples`: all rounds of one target, or of two."""
    count = sum(block.total() for blocks in samples for block in blocks) / len(samples)
    fewest = _FEWEST_STRETCHES if num_rounds > 1 else 2 * _FEWEST_STRETCHES
    return round(min(max(count / _SAMPLES_OF_A_STRETCH, fewest), _MOST_STRETCHES))


def _is_used(stretch: _Stretch) -> bool:
    return sum(block.total() for block in stretch) >= _LEAST_SAMPLES


def _logs(wanted: Sequence[OfDistribution], stretch: _Stretch) -> list[float]:
    distribution = Distribution(stretch)
    return [math.log(statistic(distribution)) for statistic in wanted]
