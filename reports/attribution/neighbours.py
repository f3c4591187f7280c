"""What other requests did while one waited: the evidence for its cause."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

from ...workloads.result import Result
from ..recording.expectation import FittedSizes
from .contexts import Contexts
from .tail_events import TailEvent, in_order

_MOST_STREAMS = 500
_MOST = 0.5
_STALLED_SHARE = 0.8
"""Of an interval: a stream without a token for this much of it is stalled."""
_MOVED_SHARE = 0.45
"""A stream that never went without a token for this much of it went on."""
_SOON = 0.25
"""Of a stall: what was released by its end gets its first token sooner."""
_LEAST_SHARE = 0.25
"""A stream that was there for less of it tells nothing."""


class Neighbours:
    """Matches every result of a run with the events during which it was alive."""

    def __init__(
        self,
        events: Sequence[TailEvent],
        expected: FittedSizes | None,
        *,
        itl_p50_s: float,
        ttft_p50_s: float,
        reports_hits: bool,
    ) -> None:
        """`itl_p50_s`: an ordinary gap; what lies within a part of it counts as the same moment.

        `ttft_p50_s`: what a prompt takes if nothing better is known. `reports_hits`: see `Contexts`.
        """
        self._events = in_order(events)
        self._starts = [event.start_s for event in self._events]
        self._longest_s = max((event.length_s for event in self._events), default=0.0)
        self._expected = expected
        self._contexts = Contexts(reports_hits=reports_hits)
        self._ttft_p50_s = ttft_p50_s
        self._moment_s = max(0.002, 0.5 * itl_p50_s)
        self._together_s = min(0.002, 0.15 * itl_p50_s)

    def add(self, result: Result) -> None:
        """Take a result of any class into account, even a failed one: it was on the server too."""
        lost_tokens, prefill_tokens = self._contexts.add(result)
        if result.sent_s is None:
            return
        index = bisect_left(self._starts, result.sent_s - self._longest_s - self._moment_s)
        key = result.session_id, result.turn_index
        prefill_ms = self._prefill_ms(result, prefill_tokens)
        lost_ms = prefill_ms * lost_tokens / prefill_tokens if prefill_tokens else 0.0
        chunk_s: list[float] | None = None
        while index < len(self._events) and self._starts[index] <= result.end_s:
            event = self._events[index]
            index += 1
            if event.end_s < result.sent_s - self._moment_s or event.key == key:
                continue
            if not event.is_gap:
                self._count_wait(event, result, prefill_ms, lost_ms)
                continue
            self._count_prompt(event, result, prefill_ms)
            if result.first_s is not None and result.gaps_us and result.first_s < event.end_s:
                if chunk_s is None:
                    chunk_s = [result.first_s + at_us / 1e6 for at_us in accumulate(result.gaps_us, initial=0)]
                _count_stream(event, chunk_s, self._together_s)

    def _count_prompt(self, event: TailEvent, result: Result, prefill_ms: float) -> None:
        """A prompt that was computed while the event lasted, or may have been."""
        sent_s, first_s, around = result.sent_s, result.first_s, event.around
        assert sent_s is not None
        until_s = result.end_s if first_s is None else first_s
        if until_s <= event.start_s or sent_s >= event.end_s:
            return
        common_s = min(until_s, event.end_s) - max(sent_s, event.start_s)
        if common_s >= _MOST * event.length_s:
            around.num_waiting += 1
            around.num_released += first_s is not None and first_s - event.end_s <= _SOON * event.length_s
        # No prompt took longer than its request waited, and none was computed before it was sent.
        prefill_ms = min(prefill_ms, (until_s - sent_s) * 1e3)
        if first_s is not None and first_s <= event.end_s + self._moment_s:
            around.num_first_tokens += 1
            # What comes of one step comes together, more or less.
            if event.start_s + self._together_s < first_s <= event.end_s + self._together_s:
                around.num_within += 1
                around.longest_within_s = max(around.longest_within_s, common_s)
            around.prefill_ms = self._together_ms(around.prefill_ms, prefill_ms)
        elif sent_s <= event.start_s:
            around.under_way_ms = self._together_ms(around.under_way_ms, prefill_ms)

    def _count_wait(self, event: TailEvent, result: Result, prefill_ms: float, lost_ms: float) -> None:
        sent_s, first_s, around, moment_s = result.sent_s, result.first_s, event.around, self._moment_s
        assert sent_s is not None
        if first_s is None:
            return
        if sent_s < event.start_s < first_s and first_s <= event.end_s + moment_s:
            around.num_ahead += 1
            around.prompts_ahead_ms = self._together_ms(around.prompts_ahead_ms, prefill_ms)
            around.longest_ahead_ms = max(around.longest_ahead_ms, prefill_ms)
            around.lost_ahead_ms += lost_ms
        if len(around.streams) < _MOST_STREAMS:
            around.streams.append((first_s, result.end_s))
        own_ms = (
            0.0 if self._expected is None else self._expected.floor_ms(event.prefill_tokens or 0, event.prompt_tokens)
        )
        made_way_s = moment_s + 1.5 * own_ms / 1e3
        around.num_made_way += event.end_s - made_way_s <= result.end_s <= event.end_s
        around.num_overtook += sent_s > event.start_s + moment_s and first_s < event.end_s - made_way_s

    def _together_ms(self, so_far_ms: float, prefill_ms: float) -> float:
        """Two prompts after one another. What does not grow with a prompt's length is no work, and counts once."""
        if not so_far_ms or self._expected is None:
            return max(so_far_ms, prefill_ms)
        return so_far_ms + max(0.0, prefill_ms - self._expected.floor_base_ms)

    def _prefill_ms(self, result: Result, prefill_tokens: int | None) -> float:
        if self._expected is None or result.prompt_tokens is None:
            return self._ttft_p50_s * 1e3
        # Where nobody knows what a cache had of it, it may have been computed whole.
        return self._expected.floor_ms(
            result.prompt_tokens if prefill_tokens is None else prefill_tokens, result.prompt_tokens
        )


def _count_stream(event: TailEvent, chunk_s: list[float], together_s: float) -> None:
    """Whether a stream with chunks at these times went on while the event lasted.

    `together_s`: chunks no further apart come of the same step.
    """
    around, length_s = event.around, event.length_s
    start_s, end_s = max(event.start_s, chunk_s[0]), min(event.end_s, chunk_s[-1])
    margin_s = 0.1 * length_s
    if chunk_s[0] >= event.start_s + margin_s and chunk_s[-1] <= event.end_s - margin_s:
        around.num_moved += 1  # began and ended meanwhile
        return
    if end_s - start_s < _LEAST_SHARE * length_s:
        return
    index = bisect_left(chunk_s, start_s)
    longest_s, last_s = 0.0, start_s
    while index < len(chunk_s) and chunk_s[index] < end_s:
        longest_s = max(longest_s, chunk_s[index] - last_s)
        last_s = chunk_s[index]
        index += 1
    longest_s = max(longest_s, end_s - last_s)
    if longest_s >= _STALLED_SHARE * (end_s - start_s):
        around.num_stalled += 1
        before, after = bisect_left(chunk_s, event.start_s + together_s), bisect_left(chunk_s, event.end_s - together_s)
        has_same_end = after < len(chunk_s) and chunk_s[after] <= event.end_s + together_s
        around.num_in_step += before == after > 0 and has_same_end and chunk_s[before - 1] >= event.start_s - together_s
    elif longest_s <= _MOVED_SHARE * (end_s - start_s):
        around.num_moved += 1
    else:
        around.num_between += 1
