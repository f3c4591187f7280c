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
_LEAST_CHUNKS = 2
"""Of most bursts. Where most chunks come alone, and some together behind a late one, nothing collects them."""
_MANY_QUICK = 0.4
"""Of the gaps: chunks come in bursts throughout, not now and then."""
_SOME_QUICK = 0.25
_ONE_TOKEN = 1.2
"""Tokens of a chunk: with more in most of them, nobody can say which chunks others were read together with."""
_NEARLY_ALL = 0.8
_LEAST_REST = 3.0
"""Usual waits: with less to come, nobody can tell."""
_REGULAR = 2.0
"""p90 over median of the gaps between bursts; a buffer that is flushed by size or by time is more regular than that."""


@dataclass(frozen=True)
class Stream:
    """The gaps of an answer in microseconds, and where in the run it lies.

    `num_merged`: chunks that are missing because they were read together with others.
    """

    gaps_us: Sequence[int]
    first_s: float
    end_s: float
    num_merged: float = 0.0

    @classmethod
    def of(cls, result: Result, tokens_per_chunk: float = 0.0) -> Stream:
        """A result's. It must have a first token. `tokens_per_chunk`: of all answers together; 0 if unknown."""
        assert result.first_s is not None
        num_merged = 0.0
        if result.output_tokens is not None and 1 <= tokens_per_chunk < _ONE_TOKEN and not result.censored:
            num_merged = max(0.0, result.output_tokens / tokens_per_chunk - len(result.gaps_us) - 1)
        return cls(result.gaps_us, result.first_s, result.first_s + sum(result.gaps_us) / 1e6, num_merged)

    @cached_property
    def quick_share(self) -> float:
        """Of its gaps, those that are next to nothing."""
        if not self.gaps_us:
            return 0.0
        quick_us = self._quick_us
        return sum(1 for gap_us in self.gaps_us if gap_us < quick_us) / len(self.gaps_us)

    @cached_property
    def typical_s(self) -> float:
        """Its usual pace: the median gap; where chunks come in bursts, the median burst's. 0 without gaps."""
        if not self.gaps_us:
            return 0.0
        if self.quick_share >= _SOME_QUICK:
            return statistics.median(sum(burst) / len(burst) for burst in self._bursts()) / 1e6
        return statistics.median(self.gaps_us) / 1e6

    def _bursts(self) -> list[list[int]]:
        """Its gaps, each that is more than next to nothing together with those behind it that are not."""
        bursts: list[list[int]] = []
        for gap_us in self.gaps_us:
            if not bursts or gap_us >= self._quick_us:
                bursts.append([])
            bursts[-1].append(gap_us)
        return bursts

    @cached_property
    def is_in_bursts(self) -> bool:
        """Whether something on the way collects chunks and sends them on together, regularly."""
        if self.quick_share < _MANY_QUICK:
            return False
        between = sorted(gap_us for gap_us in self.gaps_us if gap_us >= self._quick_us)
        if len(between) < _LEAST_BURSTS or statistics.median(map(len, self._bursts())) < _LEAST_CHUNKS:
            return False
        return between[int(0.9 * (len(between) - 1))] <= _REGULAR * statistics.median(between)

    def makes_good(self, index: int, length_s: float, usual_s: float) -> bool:
        """Whether most of what a wait took too long was caught up right after it: the tokens were there, but not here.

        An answer that ends soon afterwards cannot catch up by more than what is left of it.

        Args:
            index: Of the first gap after the wait.
            length_s: Of the wait.
            usual_s: What such a wait takes.
        """
        late_s = length_s - usual_s
        if length_s < LATE * usual_s:
            return False
        catch_up_s = self._catch_up_s(index, length_s)
        if catch_up_s >= _MOST * late_s:
            return True
        rest_s = self.typical_s * (max(0, len(self.gaps_us) - index) + self.num_merged)
        return rest_s >= _LEAST_REST * usual_s and catch_up_s >= _NEARLY_ALL * min(late_s, rest_s)

    def _catch_up_s(self, index: int, length_s: float) -> float:
        """How much earlier than at its usual pace the chunks came from gap `index` on, after a wait of `length_s`.

        Looks no further than twice as many chunks as the wait would have been at that pace. Chunks that were read
        together with others came with those that were late: each wait has as many of them as its part of the lateness.
        """
        typical_us, length_us = self.typical_s * 1e6, length_s * 1e6
        if typical_us <= 0:
            return 0.0
        most, ahead_us = 0.0, 0.0
        for gap_us in self.gaps_us[index : index + 1 + int(2 * length_us / typical_us)]:
            ahead_us += typical_us - gap_us
            most = max(most, ahead_us)
        late_us = length_us - typical_us
        if self.num_merged and length_us > LATE * typical_us:
            most += self.num_merged * typical_us * late_us / max(self._late_us, late_us)
        return most / 1e6

    @cached_property
    def _late_us(self) -> float:
        """By how much all of its late gaps together are longer than usual."""
        typical_us = self.typical_s * 1e6
        return sum(gap_us - typical_us for gap_us in self.gaps_us if gap_us > LATE * typical_us)

    @cached_property
    def _quick_us(self) -> float:
        return min(_QUICK_US, _QUICK_SHARE * statistics.fmean(self.gaps_us))
