"""The pace of one answer: what is usual in it, and whether what was late was made good."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ...workloads.result import Result

LATE = 1.5
"""Times what is usual: a shorter wait is not late."""
_MOST = 0.5
_QUICK_SHARE = 0.25
"""Of a stream's mean gap: after a gap below this, a chunk came together with the one before."""
_QUICK_US = 2000.0
"""Nor is a longer gap next to nothing, however long the others are."""
_LEAST_BURSTS = 3
_MANY_QUICK = 0.4
"""Of the gaps: chunks come in bursts throughout, not now and then."""
_SOME_QUICK = 0.25
_REGULAR = 2.0
"""p90 over median of the gaps between bursts; a buffer that is flushed by size or by time is more regular than that."""


@dataclass(frozen=True)
class Stream:
    """The gaps of an answer in microseconds, and where in the run it lies."""

    gaps_us: Sequence[int]
    first_s: float
    end_s: float

    @classmethod
    def of(cls, result: Result) -> Stream:
        """A result's. It must have a first token."""
        assert result.first_s is not None
        return cls(result.gaps_us, result.first_s, result.first_s + sum(result.gaps_us) / 1e6)

    @cached_property
    def quick_share(self) -> float:
        """Of its gaps, those that are next to nothing."""
        if not self.gaps_us:
            return 0.0
        quick_us = self._quick_us
        return sum(1 for gap_us in self.gaps_us if gap_us < quick_us) / len(self.gaps_us)

    @cached_property
    def typical_s(self) -> float:
        """Its usual pace: the median gap, or the mean where chunks come in bursts. 0 without gaps."""
        if not self.gaps_us:
            return 0.0
        if self.quick_share >= _SOME_QUICK:
            return statistics.fmean(self.gaps_us) / 1e6
        return statistics.median(self.gaps_us) / 1e6

    @cached_property
    def is_in_bursts(self) -> bool:
        """Whether something on the way collects chunks and sends them on together, regularly."""
        if self.quick_share < _MANY_QUICK:
            return False
        between = sorted(gap_us for gap_us in self.gaps_us if gap_us >= self._quick_us)
        if len(between) < _LEAST_BURSTS:
            return False
        return between[int(0.9 * len(between))] <= _REGULAR * statistics.median(between)

    def catch_up_s(self, index: int, length_s: float) -> float:
        """How much earlier than at its usual pace the chunks came from gap `index` on, after a wait of `length_s`.

        Looks no further than twice as many chunks as the wait would have been at that pace.
        """
        typical_us = self.typical_s * 1e6
        if typical_us <= 0:
            return 0.0
        most, ahead_us = 0.0, 0.0
        for gap_us in self.gaps_us[index : index + 1 + int(2 * length_s * 1e6 / typical_us)]:
            ahead_us += typical_us - gap_us
            most = max(most, ahead_us)
        return most / 1e6

    @property
    def _quick_us(self) -> float:
        return min(_QUICK_US, _QUICK_SHARE * statistics.fmean(self.gaps_us))


def was_made_good(length_s: float, usual_s: float, catch_up_s: float) -> bool:
    """Whether most of what a wait took too long was caught up right after it: the tokens were there, but not here."""
    return length_s >= LATE * usual_s and catch_up_s >= _MOST * (length_s - usual_s)
