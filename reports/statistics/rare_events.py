"""Events of two sides that are too few for a mean and its error: the exact chance of such a difference."""

from __future__ import annotations

from collections.abc import Sequence

_MOST_UNITS = 4000
"""Sizes that add up to more are rounded to this many units; below it the chance is exact."""


def chance_of_split(first: Sequence[int], other: Sequence[int], *, share: float = 0.5) -> float:
    """How likely a difference as large is if each event, whatever its size, falls to either side by chance.

    The permutation test of the sum of sizes (Fisher, 1935), with all permutations counted rather than some drawn. With
    sizes of 1 it is the exact two-sided binomial test.

    Args:
        first: Sizes of one side's events, in whole numbers above 0.
        other: Of the other side's.
        share: Of all events, those expected on the first side (0 to 1).
    """
    unit = max(1.0, (sum(first) + sum(other)) / _MOST_UNITS)
    sizes, of_first = ([max(1, round(size / unit)) for size in side] for side in ([*first, *other], first))
    chances: dict[int, float] = {0: 1.0}
    for size in sizes:
        following: dict[int, float] = {}
        for total, chance in chances.items():
            following[total + size] = following.get(total + size, 0.0) + share * chance
            following[total] = following.get(total, 0.0) + (1 - share) * chance
        chances = following
    expected = share * sum(sizes)
    apart = abs(sum(of_first) - expected) - 1e-6
    return min(1.0, sum(chance for total, chance in chances.items() if abs(total - expected) >= apart))


def in_events(counts: Sequence[int], usual: int = 0, gap: int = 0) -> list[int]:
    """Stretches of time with more than the usual count, as events: by how much it is more.

    What comes in a cluster is one event however long it lasts (runs declustering: Smith and Weissman, 1994).

    Args:
        counts: By stretch, in order of time.
        usual: What every stretch may have.
        gap: So many stretches without more than that do not end an event.
    """
    events: list[int] = []
    last = None
    for place, count in enumerate(counts):
        if count <= usual:
            continue
        if last is not None and place - last <= gap + 1:
            events[-1] += count - usual
        else:
            events.append(count - usual)
        last = place
    return events
