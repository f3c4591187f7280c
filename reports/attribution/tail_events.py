"""The tail of a run: gaps and times to first token above three medians, and a fair sample of them to look into."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import accumulate
from random import Random

from ...workloads.result import Result
from ..recording.recorder import ALL
from ..summary.state import FLAG_RATIO
from ..summary.summary import Summary

MOST_EXAMINED = 400
"""Of each kind: enough for shares to a few percent, and a bound on what looking into them costs."""
_MOST_GAPS_FOR_STALLS = 50_000
_MOST_SESSIONS = 100_000
_QUICK_SHARE = 0.25
"""Of a stream's mean gap: after a gap below this, a chunk came together with the one before."""


@dataclass(slots=True)
class Around:
    """What other requests did meanwhile; filled in by `neighbours`."""

    num_streaming: int = 0
    """Streams that began before it and went on after it."""
    num_stalled: int = 0
    """Those of them that stalled over most of the interval."""
    num_first_tokens: int = 0
    """Requests whose first token came within it."""
    prefill_ms: float = 0.0
    """What the prompts of those should take together."""
    longest_prefill_ms: float = 0.0
    """The same of the longest prompt that was under way throughout."""
    num_waiting: int = 0
    """Requests that waited for their first token for most of it."""
    num_ahead: int = 0
    """Requests that were waiting for their first token already when it began."""
    streams: list[tuple[float, float]] = field(default_factory=list)
    """From first token to end, of those that overlap a wait or were waiting with it."""
    num_made_way: int = 0
    """Streams that ended just before its end."""


@dataclass(slots=True)
class TailEvent:
    """An interval in which a request waited: a gap of a stream, or from due to first token.

    Attributes:
        key: Session and turn.
        is_control: Not of the tail; what the same rules say about controls is the base rate.
        quick_gaps: Gaps right after it that were next to nothing.
        mean_gap_s: Of its stream.
        client_s: How long of it the client had not sent yet.
        prefill_tokens: Tokens of its prompt that no cache had.
        lost_tokens: Tokens of its session's context that the server had a turn ago and computed again.
    """

    key: tuple[str, int]
    start_s: float
    end_s: float
    is_gap: bool
    is_control: bool = False
    quick_gaps: int = 0
    mean_gap_s: float = 0.0
    client_s: float = 0.0
    prefill_tokens: int | None = None
    lost_tokens: int = 0
    around: Around = field(default_factory=Around)

    @property
    def length_s(self) -> float:
        """How long."""
        return self.end_s - self.start_s


@dataclass(slots=True)
class _Reservoir:
    """Events, each kept with equal chance (Vitter, 1985, algorithm R)."""

    random: Random
    seen: int = 0
    kept: list[TailEvent] = field(default_factory=list)

    def place(self) -> int | None:
        """Where the next one goes; None if it is not kept."""
        self.seen += 1
        if self.seen <= MOST_EXAMINED:
            self.kept.append(TailEvent(("", 0), 0.0, 0.0, is_gap=False))
            return self.seen - 1
        place = self.random.randrange(self.seen)
        return place if place < MOST_EXAMINED else None


class TailSample:
    """Looks at results one at a time; afterwards holds what is to be looked into."""

    def __init__(self, summary: Summary) -> None:
        self._class = summary.verdict_class
        self.gap_threshold_s = self._threshold_s(summary, "itl")
        self.ttft_threshold_s = self._threshold_s(summary, "ttft")
        random = Random("tail")
        self._random = Random("shift")
        self._gaps, self._ttfts = _Reservoir(random), _Reservoir(random)
        self._ordinary = _Reservoir(random)
        self._shifted: dict[int, TailEvent] = {}
        self.long_gaps: list[tuple[float, float]] = []
        """Of every class, for stalls: (start, end)."""
        self._contexts: dict[str, int] = {}

    def _threshold_s(self, summary: Summary, metric: str) -> float:
        measured = summary.metrics.get(metric, {}).get(self._class)
        return FLAG_RATIO * measured.p50_ms / 1e3 if measured else math.inf

    @property
    def num_gaps(self) -> int:
        """Tail gaps in the run."""
        return self._gaps.seen

    @property
    def num_ttfts(self) -> int:
        """Tail ttfts in the run."""
        return self._ttfts.seen

    def events(self) -> list[TailEvent]:
        """The sample of the tail, and its controls."""
        return [*self._gaps.kept, *self._shifted.values(), *self._ttfts.kept, *self._ordinary.kept]

    def add(self, result: Result) -> None:
        """Look at a result."""
        lost_tokens = self._lost_tokens(result)
        if not result.has_latency or result.sent_s is None:
            return
        is_ours = self._class in (ALL, result.traffic_class)
        if is_ours and result.first_s is not None:
            self._add_ttft(result, lost_tokens)
        if result.first_s is not None and result.gaps_us and max(result.gaps_us) / 1e6 > self.gap_threshold_s:
            self._add_gaps(result, result.first_s, is_ours=is_ours)

    def _add_ttft(self, result: Result, lost_tokens: int) -> None:
        assert result.first_s is not None
        assert result.sent_s is not None
        is_tail = result.first_s - result.due_s > self.ttft_threshold_s
        reservoir = self._ttfts if is_tail else self._ordinary
        place = reservoir.place()
        if place is None:
            return
        known = result.prompt_tokens
        reservoir.kept[place] = TailEvent(
            key=(result.session_id, result.turn_index),
            start_s=result.due_s,
            end_s=result.first_s,
            is_gap=False,
            is_control=not is_tail,
            client_s=result.start_delay_us / 1e6,
            prefill_tokens=None if known is None else max(0, known - (result.cached_tokens or 0)),
            lost_tokens=lost_tokens,
        )

    def _add_gaps(self, result: Result, first_s: float, *, is_ours: bool) -> None:
        gaps_us, starts = result.gaps_us, list(accumulate(result.gaps_us, initial=0))
        mean_gap_s = starts[-1] / len(gaps_us) / 1e6
        for index, gap_us in enumerate(gaps_us):
            if gap_us / 1e6 <= self.gap_threshold_s:
                continue
            start_s = first_s + starts[index] / 1e6
            end_s = start_s + gap_us / 1e6
            self._keep_for_stalls(start_s, end_s)
            if not is_ours or (place := self._gaps.place()) is None:
                continue
            key = result.session_id, result.turn_index
            quick = _num_quick(gaps_us, index + 1, mean_gap_s)
            self._gaps.kept[place] = TailEvent(
                key, start_s, end_s, is_gap=True, quick_gaps=quick, mean_gap_s=mean_gap_s
            )
            self._shifted.pop(place, None)
            room_s = result.end_s - first_s - (end_s - start_s)
            if room_s > end_s - start_s:
                shifted_s = first_s + self._random.random() * room_s
                self._shifted[place] = TailEvent(
                    key, shifted_s, shifted_s + end_s - start_s, is_gap=True, is_control=True, mean_gap_s=mean_gap_s
                )

    def _keep_for_stalls(self, start_s: float, end_s: float) -> None:
        self.long_gaps.append((start_s, end_s))
        if len(self.long_gaps) >= 2 * _MOST_GAPS_FOR_STALLS:
            self.long_gaps.sort(key=lambda gap: gap[0] - gap[1])
            del self.long_gaps[_MOST_GAPS_FOR_STALLS:]

    def _lost_tokens(self, result: Result) -> int:
        """How much of the previous turn's context was computed again, as far as the server reports it."""
        had = self._contexts.pop(result.session_id, 0)
        if result.prompt_tokens is None or result.output_tokens is None or result.is_last:
            pass
        elif len(self._contexts) < _MOST_SESSIONS:
            self._contexts[result.session_id] = result.prompt_tokens + result.output_tokens
        if not had or result.cached_tokens is None or result.prompt_tokens is None:
            return 0
        return max(0, min(had, result.prompt_tokens) - result.cached_tokens)


def _num_quick(gaps_us: list[int], first: int, mean_gap_s: float) -> int:
    """Gaps from `first` on that are next to nothing."""
    quick_us = _QUICK_SHARE * mean_gap_s * 1e6
    last = first
    while last < len(gaps_us) and gaps_us[last] < quick_us:
        last += 1
    return last - first


def in_order(events: Iterable[TailEvent]) -> list[TailEvent]:
    """By when they began."""
    return sorted(events, key=lambda event: event.start_s)
