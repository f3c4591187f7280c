"""What other requests did while one waited: the evidence for its cause."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

from ...workloads.result import Result
from ..summary.expectation import FittedSizes
from .tail_events import TailEvent, in_order

_MOST_STREAMS = 500
_MOST = 0.5
_STALLED_SHARE = 0.8
"""Of an interval: a stream without a token for this much of it is stalled."""


class Neighbours:
    """Matches every result of a run with the events during which it was alive."""

    def __init__(
        self, events: Sequence[TailEvent], expected: FittedSizes | None, *, itl_p50_s: float, ttft_p50_s: float
    ) -> None:
        """`itl_p50_s`: an ordinary gap; what lies within a part of it counts as the same moment.

        `ttft_p50_s`: what a prompt takes if nothing better is known.
        """
        self._events = in_order(events)
        self._starts = [event.start_s for event in self._events]
        self._longest_s = max((event.length_s for event in self._events), default=0.0)
        self._expected = expected
        self._ttft_p50_s = ttft_p50_s
        self._moment_s = max(0.002, 0.5 * itl_p50_s)

    def add(self, result: Result) -> None:
        """Take a result of any class into account, even a failed one: it was on the server too."""
        if result.sent_s is None:
            return
        index = bisect_left(self._starts, result.sent_s - self._longest_s - self._moment_s)
        key = result.session_id, result.turn_index
        gap_starts: list[float] | None = None
        while index < len(self._events) and self._starts[index] <= result.end_s:
            event = self._events[index]
            index += 1
            if event.end_s < result.sent_s - self._moment_s or event.key == key:
                continue
            if not event.is_gap:
                self._count_wait(event, result)
                continue
            self._count_prompt(event, result)
            if result.first_s is not None and result.first_s <= event.start_s and result.end_s >= event.end_s:
                if gap_starts is None:
                    gap_starts = [result.first_s + at_us / 1e6 for at_us in accumulate(result.gaps_us, initial=0)]
                event.around.num_streaming += 1
                event.around.num_stalled += _is_stalled(event, gap_starts)

    def _count_prompt(self, event: TailEvent, result: Result) -> None:
        """A prompt that was computed while the event lasted, or may have been."""
        sent_s, first_s, around = result.sent_s, result.first_s, event.around
        assert sent_s is not None
        until_s = result.end_s if first_s is None else first_s
        if until_s <= event.start_s or sent_s >= event.end_s:
            return
        common_s = min(until_s, event.end_s) - max(sent_s, event.start_s)
        around.num_waiting += common_s >= _MOST * event.length_s
        prefill_ms = min(self._prefill_ms(result), (until_s - sent_s) * 1e3)
        if first_s is not None and first_s <= event.end_s + self._moment_s:
            around.num_first_tokens += 1
            around.prefill_ms += prefill_ms
        elif sent_s <= event.start_s:
            around.longest_prefill_ms = max(around.longest_prefill_ms, prefill_ms)

    def _count_wait(self, event: TailEvent, result: Result) -> None:
        sent_s, first_s, around, moment_s = result.sent_s, result.first_s, event.around, self._moment_s
        assert sent_s is not None
        if first_s is None:
            around.num_ahead += sent_s < event.start_s < result.end_s
            return
        around.num_ahead += sent_s < event.start_s < first_s
        if len(around.streams) < _MOST_STREAMS:
            around.streams.append((first_s, result.end_s))
        made_way_s = moment_s + 0.1 * event.length_s
        around.num_made_way += event.end_s - made_way_s <= result.end_s <= event.end_s

    def _prefill_ms(self, result: Result) -> float:
        if self._expected is None or result.prompt_tokens is None:
            return self._ttft_p50_s * 1e3
        return self._expected.floor_ms(max(0, result.prompt_tokens - (result.cached_tokens or 0)))


def _is_stalled(event: TailEvent, chunk_s: list[float]) -> bool:
    """Whether a stream with chunks at these times produced nothing for most of the event."""
    index = bisect_left(chunk_s, event.start_s)
    longest_s, last_s = 0.0, event.start_s
    while index < len(chunk_s) and chunk_s[index] < event.end_s:
        longest_s = max(longest_s, chunk_s[index] - last_s)
        last_s = chunk_s[index]
        index += 1
    return max(longest_s, event.end_s - last_s) >= _STALLED_SHARE * event.length_s
