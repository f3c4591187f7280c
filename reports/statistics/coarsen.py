"""Bins of time that grow with a run, so that memory does not, and stretches of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

_Bin = TypeVar("_Bin")


def in_pairs(bins: Sequence[_Bin], merge: Callable[[_Bin, _Bin], _Bin]) -> list[_Bin]:
    """Bins of twice the length; the last one may be of half a pair."""
    pairs = [merge(first, second) for first, second in zip(bins[::2], bins[1::2], strict=False)]
    return [*pairs, *bins[2 * len(pairs) :]]


def in_parts(bins: Sequence[_Bin], parts: int) -> list[Sequence[_Bin]]:
    """As many runs of neighbours, of the same length as far as that goes. With fewer bins than parts some are empty."""
    return [bins[len(bins) * part // parts : len(bins) * (part + 1) // parts] for part in range(parts)]


def coarser(counts: Counter[int], ratio: int) -> Counter[int]:
    """Counts by number of bin, in bins that are `ratio` times as long."""
    found: Counter[int] = Counter()
    for index, count in counts.items():
        found[index // ratio] += count
    return found
