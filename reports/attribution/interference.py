"""What other requests' prompts cost a stream, as its own gaps say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .tail_events import TailEvent

_LEAST_GAPS = 10


def prompt_cost_s(gaps: Sequence[TailEvent]) -> float | None:
    """How much longer a gap is if just one other request's first token comes within it; None where that is unknown.

    A long gap has somebody's first token within it more often than a short one, whatever made it long. So each gap with
    one counts the less the longer it is (as in Horvitz and Thompson, 1952): if first tokens came at moments that have
    nothing to do with the gaps, both medians were the same.

    Args:
        gaps: Chosen with equal chance, and what was around them.
    """
    with_one = [(gap.length_s, 1 / gap.length_s) for gap in gaps if gap.around.num_within == 1]
    without = [(gap.length_s, 1.0) for gap in gaps if gap.around.num_within == 0]
    if len(with_one) < _LEAST_GAPS or len(without) < _LEAST_GAPS:
        return None
    return max(0.0, _median(with_one) - _median(without))


def _median(weighted: Iterable[tuple[float, float]]) -> float:
    """Of (value, weight)."""
    in_order = sorted(weighted)
    left = sum(weight for _, weight in in_order) / 2
    for value, weight in in_order:
        left -= weight
        if left <= 0:
            return value
    return in_order[-1][0]
