"""What a tool pause costs: the ttft behind it, less that of turns of the same size and time that followed at once."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from statistics import median

import msgspec

from ...workloads.bounds import Amount, Count, Number
from ..statistics.estimate import difference_ms
from ..statistics.exceedances import Exceedances
from ..statistics.interval import Interval
from ..statistics.log_buckets import buckets_of
from ..statistics.percentile import nearest_rank
from ..statistics.percentile_estimate import percentile_buckets, percentile_estimate
from .pauses import EDGES_S, Context, Pauses, Resumed

LEAST_TURNS = 30
"""For a median, of each of the two; `LEAST_FOR_P99` likewise."""
LEAST_FOR_P99 = 300
_STRETCHES = 63
_NEAREST = 16
"""Turns: of those nearest in time, the one nearest in size is set beside each."""


_Pair = tuple[Resumed, Resumed]
"""A turn after a pause, and the one set beside it."""


class Cost(msgspec.Struct, kw_only=True, frozen=True):
    """What pauses cost at a percentile of ttft.

    Attributes:
        ttft_ms: The percentile after pauses; `beside_ms`: that of the turns set beside them.
        cost_ms: At p50 the median of the differences, turn by turn; at p99 the difference of the two.
        interval_ms: Of that, at 95%. On simulated devices, too: no turn is measured both with a pause and without.
    """

    ttft_ms: Amount
    beside_ms: Amount
    cost_ms: Number
    interval_ms: Interval


class PauseBand(msgspec.Struct, kw_only=True):
    """The turns after pauses of about one length.

    Attributes:
        from_s: The shortest pause of the band; `to_s` ends it, and is None for the last one.
        pause_s: Their median.
        cut_off: Turns whose ttft is a lower bound.
        p50_ms: Of ttft; `p99_ms` likewise, None with fewer than 300 turns.
        p50: What the pause costs at the median; None where there are too few turns to tell. `p99` likewise.
        contexts: Turns by what the server still had of their context: kept, partly, recomputed, unknown.
        context_p50_ms: The median of ttft by that, where there are ten such turns.
    """

    from_s: Amount
    to_s: Amount | None
    turns: Count
    pause_s: Amount
    p50_ms: Amount
    p99_ms: Amount | None = None
    p50: Cost | None = None
    p99: Cost | None = None
    cut_off: Count = 0
    contexts: dict[Context, Count] = {}
    context_p50_ms: dict[Context, Amount] = {}


class PauseCosts(msgspec.Struct, kw_only=True):
    """The later turns of sessions by how long their tools took, the shortest pauses first.

    There is at least one band of pauses that are any, and one behind `beside`.

    Attributes:
        beside: Place in `bands` of the turns that the others are set beside: those that followed at once, or else the
            shortest pauses that there are enough of. None if there are not enough of any.
    """

    bands: list[PauseBand]
    beside: Count | None = None

    def __post_init__(self) -> None:
        if not self._longer() or not all(band.turns for band in self.bands):
            raise ValueError("a band without turns, or no band of pauses is behind the one that they are set beside")

    def _longer(self) -> list[PauseBand]:
        if self.beside is not None and self.beside >= len(self.bands):
            return []
        least_s = 0.0 if self.beside is None else self.bands[self.beside].from_s
        return [band for band in self.bands if band.from_s > least_s]

    @property
    def told(self) -> PauseBand:
        """The band that a sentence is about: of those with a known cost the longest pauses, at p99 if that is known.

        What the pauses cost has no say in it: the largest of several uncertain costs would be too large. Where no cost
        is known, it is the band with most turns.
        """

        def rank(band: PauseBand) -> tuple[bool, bool, float]:
            is_known = band.p50 is not None
            return band.p99 is not None, is_known, band.from_s if is_known else band.turns

        return max(self._longer(), key=rank)

    @property
    def reference(self) -> PauseBand | None:
        """The turns that the others are set beside."""
        return None if self.beside is None else self.bands[self.beside]


def pause_costs(pauses: Pauses) -> PauseCosts | None:
    """What was recorded of a run, in bands; None if no turn followed a tool pause."""
    places = [place for place in range(len(EDGES_S) + 1) if pauses.num_turns(place)]
    if not any(places):
        return None
    samples = {place: pauses.turns(place) for place in places}
    beside = next((place for place in places[:-1] if pauses.num_turns(place) >= LEAST_TURNS), None)
    bands = [_band(pauses, place, samples[place]) for place in places]
    if beside is not None:
        matcher = _Matcher(samples[beside])
        for place, band in zip(places, bands, strict=True):
            if place > beside and band.turns >= LEAST_TURNS:
                _price(band, samples[place], matcher)
    return PauseCosts(bands=bands, beside=None if beside is None else places.index(beside))


def _band(pauses: Pauses, place: int, turns: Sequence[Resumed]) -> PauseBand:
    ordered_us = sorted(turn.ttft_us for turn in turns)
    by_context: dict[Context, list[int]] = {}
    for turn in turns:
        by_context.setdefault(pauses.known(turn.context), []).append(turn.ttft_us)
    return PauseBand(
        from_s=EDGES_S[place - 1] if place else 0.0,
        to_s=EDGES_S[place] if place < len(EDGES_S) else None,
        turns=pauses.num_turns(place),
        cut_off=pauses.num_cut_off(place),
        pause_s=round(median(turn.pause_s for turn in turns), 3),
        p50_ms=nearest_rank(ordered_us, 50) / 1e3,
        p99_ms=nearest_rank(ordered_us, 99) / 1e3 if len(ordered_us) >= LEAST_FOR_P99 else None,
        contexts=pauses.contexts(place),
        context_p50_ms={
            context: nearest_rank(sorted(ttfts_us), 50) / 1e3
            for context, ttfts_us in sorted(by_context.items())
            if len(ttfts_us) >= 10
        },
    )


class _Matcher:
    """Finds the turn that would have been like another one, had that followed at once."""

    def __init__(self, turns: Sequence[Resumed]) -> None:
        by_class: dict[str, list[Resumed]] = {}
        for turn in turns:
            by_class.setdefault(turn.traffic_class, []).append(turn)
        self._all = turns
        self._by_class = {name: same for name, same in by_class.items() if len(same) >= LEAST_TURNS}

    def __len__(self) -> int:
        return len(self._all)

    def beside(self, turn: Resumed) -> Resumed:
        """Of its class, as far as there are enough of it; near in time, so that it met the same load; and of its size,
        because what a slow tool returns may be longer.
        """
        turns = self._by_class.get(turn.traffic_class, self._all)
        place = bisect_left(turns, turn.due_s, key=lambda other: other.due_s)
        first = max(0, min(place - _NEAREST // 2, len(turns) - _NEAREST))
        near = turns[first : first + _NEAREST]
        return min(near, key=lambda other: (_apart(turn, other), abs(other.due_s - turn.due_s)))


def _apart(one: Resumed, other: Resumed) -> float:
    """How far two turns differ in size: the sum of logarithms of ratios. What is not known of either does not count."""
    apart = 0.0
    for mine, theirs in ((one.prompt_tokens, other.prompt_tokens), (one.new_tokens, other.new_tokens)):
        if mine is not None and theirs is not None:
            apart += abs(math.log((mine + 1) / (theirs + 1)))
    return apart


def _price(band: PauseBand, turns: Sequence[Resumed], matcher: _Matcher) -> None:
    pairs = [(turn, matcher.beside(turn)) for turn in turns]
    num_turns = min(len(turns), len(matcher))
    if num_turns >= LEAST_TURNS:
        band.p50 = _typical(pairs)
    if num_turns >= LEAST_FOR_P99:
        band.p99 = _of_tails(pairs)


def _typical(pairs: Sequence[_Pair]) -> Cost | None:
    """The median of the differences: what both turns of a pair waited for is no part of it."""
    differences_us = [turn.ttft_us - beside.ttft_us for turn, beside in pairs]
    ordered_us = sorted(set(differences_us))
    places = {difference_us: place for place, difference_us in enumerate(ordered_us)}
    found = percentile_buckets(_by_time(pairs, [places[difference_us] for difference_us in differences_us]), 0.5)
    if found is None:
        return None
    high_us = math.inf if found.high is None else ordered_us[found.high]
    return _cost(pairs, 0.5, ordered_us[found.at], Interval(ordered_us[found.low] / 1e3, high_us / 1e3))


def _of_tails(pairs: Sequence[_Pair]) -> Cost | None:
    """The p99 of one less that of the others: the slowest of each have nothing to do with each other."""
    estimates = (
        percentile_estimate(_by_time(pairs, buckets_of([turn.ttft_us for turn in side])), 0.99)
        for side in zip(*pairs, strict=True)
    )
    paused, at_once = estimates
    if paused is None or at_once is None or (interval := difference_ms(paused, at_once)) is None:
        return None
    return _cost(pairs, 0.99, paused.value_us - at_once.value_us, interval)


def _cost(pairs: Sequence[_Pair], share: float, cost_us: float, interval_ms: Interval) -> Cost:
    ttft_us, beside_us = (
        nearest_rank(sorted(turn.ttft_us for turn in side), 100 * share) for side in zip(*pairs, strict=True)
    )
    return Cost(
        ttft_ms=ttft_us / 1e3, beside_ms=beside_us / 1e3, cost_ms=round(cost_us / 1e3, 3), interval_ms=interval_ms
    )


def _by_time(pairs: Sequence[_Pair], buckets: Sequence[int]) -> Exceedances:
    """One bucket for each pair, in stretches of time; pairs are in order of time."""
    first_s, last_s = pairs[0][0].due_s, pairs[-1][0].due_s
    stretch_s = (last_s - first_s) / _STRETCHES or 1.0
    blocks = [Counter[int]() for _ in range(_STRETCHES + 1)]
    for (turn, _), bucket in zip(pairs, buckets, strict=True):
        blocks[int((turn.due_s - first_s) / stretch_s)][bucket] += 1
    return Exceedances(blocks)
