"""The tail of a class: its gaps and waits above three medians, a fair sample of them, and controls to set beside them.

A control is as long as an event of the tail and begins at a random moment: what the rules say about controls is what
they would say by chance.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from random import Random

from ...workloads.result import Result
from ..recording.recorder import ALL
from ..statistics.trend import rank_correlation
from ..summary.state import FLAG_RATIO
from ..summary.summary import Summary
from .stalls import LongGap
from .streams import LATE, Stream

MOST_EXAMINED = 400
"""Of each kind: enough for shares to a few percent, and a bound on what looking into them costs."""
_MOST_GAPS_FOR_STALLS = 50_000
_FOLLOWS = 0.5
"""Rank correlation of answers' pace with their contexts."""
_LEAST_ANSWERS = 20


@dataclass(slots=True)
class Around:
    """What other requests did meanwhile; filled in by `neighbours`."""

    num_stalled: int = 0
    """Streams that got nothing for most of it."""
    num_in_step: int = 0
    """Those of them whose wait began and ended with it."""
    num_moved: int = 0
    """Streams that went on at least twice as fast."""
    num_between: int = 0
    """Other streams."""
    num_first_tokens: int = 0
    """Requests whose first token came within it, or a moment later."""
    num_within: int = 0
    """Those of them whose first token came after it had begun, and before its end."""
    longest_within_s: float = 0.0
    """The longest of these waits, as far as it lies within it."""
    prefill_ms: float = 0.0
    """What the prompts of those should take together."""
    under_way_ms: float = 0.0
    """The same of those that were under way throughout."""
    num_waiting: int = 0
    """Requests that waited for their first token for most of it."""
    num_released: int = 0
    """Those of them whose first token came soon after it."""
    prompts_ahead_ms: float = 0.0
    """What the prompts should take together that were sent before it began, and had their first token within it."""
    longest_ahead_ms: float = 0.0
    """The same of the longest of them."""
    lost_ahead_ms: float = 0.0
    """What of all of them the server had computed a turn before."""
    num_ahead: int = 0
    """Those prompts."""
    num_overtook: int = 0
    """Requests that were sent after it began, and had their first token well before its end."""
    streams: list[tuple[float, float]] = field(default_factory=list)
    """From first token to end, of those that overlap a wait or were waiting with it."""
    num_made_way: int = 0
    """Streams that ended just before its end."""

    @property
    def num_streaming(self) -> int:
        """Other streams in all."""
        return self.num_stalled + self.num_moved + self.num_between


@dataclass(slots=True)
class TailEvent:
    """An interval in which a request waited: a gap of a stream, or from due to first token.

    Attributes:
        key: Session and turn.
        is_control: Not of the tail.
        stream: The answer that it belongs to; None where there is none.
        was_made_good: The chunks right behind it came so much faster than usual.
        num_after: Gaps of its answer that follow: hardly any, and nobody can tell whether it was made good.
        client_s: How late the client was in sending it; `waited_s`: how long it waited for a place of --max-in-flight.
        connect_s: How long of it a connection was being set up. `was_retried`: it was sent again, because the server
            had closed the connection.
        prefill_tokens: Tokens of its prompt that no cache had; `prompt_tokens`: of the whole prompt.
        lost_tokens: Tokens of its session's context that the server had a turn ago and computed again.
    """

    key: tuple[str, int]
    start_s: float
    end_s: float
    is_gap: bool
    is_control: bool = False
    stream: Stream | None = None
    was_made_good: bool = False
    num_after: int = 0
    client_s: float = 0.0
    waited_s: float = 0.0
    connect_s: float = 0.0
    was_retried: bool = False
    prefill_tokens: int | None = None
    prompt_tokens: int = 0
    lost_tokens: int = 0
    around: Around = field(default_factory=Around)

    @property
    def length_s(self) -> float:
        """How long."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class _Request:
    """A result, and how much of its session's context was computed again for it."""

    result: Result
    lost_tokens: int
    prefill_tokens: int | None

    def wait(self, usual_s: float, tokens_per_chunk: float, length_s: float | None = None) -> TailEvent:
        """Its wait for the first token, `usual_s` in others; with a length, a control that begins when it was due."""
        result = self.result
        assert result.first_s is not None
        end_s = result.first_s if length_s is None else result.due_s + length_s
        stream = Stream.of(result, tokens_per_chunk)
        return TailEvent(
            key=(result.session_id, result.turn_index),
            start_s=result.due_s,
            end_s=end_s,
            is_gap=False,
            is_control=length_s is not None,
            stream=stream,
            was_made_good=stream.makes_good(0, end_s - result.due_s, usual_s),
            client_s=result.start_delay_us / 1e6,
            waited_s=result.waited_s,
            connect_s=result.connect_s,
            was_retried=result.retries > 0,
            prefill_tokens=self.prefill_tokens,
            prompt_tokens=result.prompt_tokens or 0,
            lost_tokens=self.lost_tokens,
        )


class _Reservoir:
    """Keeps each of what it is offered with equal chance (Vitter, 1985, algorithm R)."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.seen = 0
        self.num_kept = 0

    def place(self) -> int | None:
        """Where the next one goes; None if it is not kept."""
        self.seen += 1
        if self.seen <= MOST_EXAMINED:
            self.num_kept += 1
            return self.seen - 1
        place = self._random.randrange(self.seen)
        return place if place < MOST_EXAMINED else None


class TailSample:
    """Looks at results one at a time; afterwards holds what is to be looked into, of one class."""

    def __init__(self, summary: Summary, traffic_class: str | None = None) -> None:
        self.traffic_class = summary.verdict_class if traffic_class is None else traffic_class
        self.gap_threshold_s = self._threshold_s(summary, "itl")
        self.ttft_threshold_s = self._threshold_s(summary, "ttft")
        self._usual_ttft_s = self.ttft_threshold_s / FLAG_RATIO
        self._tokens_per_chunk = summary.tokens_per_chunk
        random = Random("tail")
        self._random = Random("controls")
        self._gap_places, self._wait_places = _Reservoir(random), _Reservoir(random)
        self._all_places = _Reservoir(random)
        self._gaps: dict[int, TailEvent] = {}
        self._waits: dict[int, TailEvent] = {}
        self._any: dict[int, _Request] = {}
        """Of the tail or not: where controls come from."""
        self.long_gaps: list[LongGap] = []
        """Of every class, for stalls."""

    def _threshold_s(self, summary: Summary, metric: str) -> float:
        measured = summary.metrics.get(metric, {}).get(self.traffic_class)
        return FLAG_RATIO * measured.p50_ms / 1e3 if measured else math.inf

    @property
    def num_gaps(self) -> int:
        """Tail gaps in the run."""
        return self._gap_places.seen

    @property
    def num_ttfts(self) -> int:
        """Tail ttfts in the run."""
        return self._wait_places.seen

    def events(self) -> list[TailEvent]:
        """The sample of the tail, and as many controls."""
        tail = [*self._gaps.values(), *self._waits.values()]
        return [*tail, *self._controls(tail)]

    def add(self, result: Result, lost_tokens: int, prefill_tokens: int | None) -> None:
        """Look at a result. Of its session's context `lost_tokens` were computed again."""
        if not result.has_latency or result.sent_s is None or result.first_s is None:
            return
        is_ours = self.traffic_class in (ALL, result.traffic_class)
        if is_ours:
            request = _Request(result, lost_tokens, prefill_tokens)
            if (place := self._all_places.place()) is not None:
                self._any[place] = request
            if result.first_s - result.due_s > self.ttft_threshold_s:
                self._keep_wait(request)
        if result.gaps_us and max(result.gaps_us) / 1e6 > self.gap_threshold_s:
            self._add_gaps(result, result.first_s, Stream.of(result, self._tokens_per_chunk), is_ours=is_ours)

    def _keep_wait(self, request: _Request) -> None:
        if (place := self._wait_places.place()) is not None:
            self._waits[place] = request.wait(self._usual_ttft_s, self._tokens_per_chunk)

    def _add_gaps(self, result: Result, first_s: float, stream: Stream, *, is_ours: bool) -> None:
        start_s = first_s
        for index, gap_us in enumerate(result.gaps_us):
            end_s = start_s + gap_us / 1e6
            if gap_us / 1e6 > self.gap_threshold_s:
                was_made_good = stream.makes_good(index + 1, end_s - start_s, stream.typical_s)
                if not (was_made_good and stream.is_in_bursts):
                    is_usual = end_s - start_s < LATE * stream.typical_s
                    self._keep_for_stalls(LongGap(start_s, end_s, is_usual=is_usual, was_made_good=was_made_good))
                if is_ours and (place := self._gap_places.place()) is not None:
                    self._gaps[place] = TailEvent(
                        key=(result.session_id, result.turn_index),
                        start_s=start_s,
                        end_s=end_s,
                        is_gap=True,
                        stream=stream,
                        was_made_good=was_made_good,
                        num_after=len(result.gaps_us) - index - 1,
                        prompt_tokens=result.prompt_tokens or 0,
                    )
            start_s = end_s

    def _keep_for_stalls(self, gap: LongGap) -> None:
        self.long_gaps.append(gap)
        if len(self.long_gaps) >= 2 * _MOST_GAPS_FOR_STALLS:
            self.long_gaps.sort(key=lambda gap: gap.start_s - gap.end_s)
            del self.long_gaps[_MOST_GAPS_FOR_STALLS:]

    def _controls(self, tail: Iterable[TailEvent]) -> Iterator[TailEvent]:
        """For each event of the tail one of the same length, at the time of a random request of any length."""
        requests = list(self._any.values())
        streaming_s = [sum(request.result.gaps_us) for request in requests]
        for event in tail:
            if not event.is_gap:
                yield self._random.choice(requests).wait(self._usual_ttft_s, self._tokens_per_chunk, event.length_s)
            elif any(streaming_s):
                # By how long they streamed: a moment of the run, not a request.
                (request,) = self._random.choices(requests, streaming_s)
                yield self._gap_control(request.result, event.length_s)

    @property
    def long_context(self) -> float:
        """From so many prompt tokens on an answer is slow because of them; infinite if pace does not follow length."""
        lengths = [
            (request.result.prompt_tokens, Stream.of(request.result).typical_s)
            for request in self._any.values()
            if request.result.prompt_tokens is not None and request.result.gaps_us
        ]
        if len(lengths) < _LEAST_ANSWERS:
            return math.inf
        Random("equal lengths").shuffle(lengths)
        lengths.sort(key=lambda length: length[0])
        follows = rank_correlation([pace_s for _, pace_s in lengths]) >= _FOLLOWS
        return lengths[len(lengths) // 2][0] if follows else math.inf

    def any_gaps(self) -> list[TailEvent]:
        """Gaps of some requests, of the tail or not; as many of each."""
        random, found = Random("any gaps"), []
        results = [request.result for request in self._any.values() if request.result.gaps_us]
        for result in results * (MOST_EXAMINED // max(1, len(results))):
            assert result.first_s is not None
            index = random.randrange(len(result.gaps_us))
            start_s = result.first_s + sum(result.gaps_us[:index]) / 1e6
            end_s = start_s + max(1, result.gaps_us[index]) / 1e6
            key = result.session_id, result.turn_index
            found.append(TailEvent(key=key, start_s=start_s, end_s=end_s, is_gap=True))
        return found

    def _gap_control(self, result: Result, length_s: float) -> TailEvent:
        assert result.first_s is not None
        index = self._random.randrange(len(result.gaps_us))
        start_s = result.first_s + (sum(result.gaps_us[:index]) + self._random.random() * result.gaps_us[index]) / 1e6
        stream = Stream.of(result, self._tokens_per_chunk)
        return TailEvent(
            key=(result.session_id, result.turn_index),
            start_s=start_s,
            end_s=start_s + length_s,
            is_gap=True,
            is_control=True,
            stream=stream,
            was_made_good=stream.makes_good(index + 1, length_s, stream.typical_s),
            prompt_tokens=result.prompt_tokens or 0,
        )


def in_order(events: Iterable[TailEvent]) -> list[TailEvent]:
    """By when they began."""
    return sorted(events, key=lambda event: event.start_s)
