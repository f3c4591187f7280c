"""One process's share of a workload: several processes together send what one would."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice, repeat, tee

from .session import Session
from .workload import ClosedLoop, OpenLoop, Replay, Stream, Workload

_CLOSED_LOOP_RAMP_S = 1.0
"""Closed-loop sessions start spread over this time: starting all at once would measure an unrealistic burst."""


@dataclass(frozen=True, slots=True)
class Share:
    """One of `of` processes; `index` counts from 0. Numbered items are dealt out in turn."""

    index: int = 0
    of: int = 1

    def owns(self, number: int) -> bool:
        """Whether the item with this number is its own."""
        return number % self.of == self.index

    def part(self, total: int) -> int:
        """How many of a total number of items are its own."""
        return len(range(self.index, total, self.of))

    def num_sessions(self, workload: Workload, total: int) -> int:
        """How many of a total number of sessions it starts.

        Closed-loop sessions are dealt by slot: a process without a slot starts none.
        """
        live = [stream.pacing.concurrency for stream in workload.streams if isinstance(stream.pacing, ClosedLoop)]
        if len(live) < len(workload.streams):
            return self.part(total)
        rounds, rest = divmod(total, sum(live))
        return rounds * self.part(sum(live)) + self.part(rest)


WHOLE = Share()
"""The share of a single process: everything."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Open-loop sessions with their start times, in order."""

    timed: Iterator[tuple[float, Session]]


@dataclass(frozen=True, slots=True)
class Slots:
    """The slots of a closed loop: when each is first filled, and the sessions that fill them in turn."""

    starts_s: list[float]
    sessions: Iterator[Session]


def parts(workload: Workload, seed: int, share: Share, num_sessions: int | None = None) -> Iterator[Arrivals | Slots]:
    """What a process sends of each stream.

    Arrivals are numbered over all open loops, in order of time, so that the first `num_sessions` of them are the same
    for any number of processes. Slots are numbered over all closed loops, so that none is lost where a stream has
    fewer slots than there are processes. The sessions of a stream are dealt to its slots.
    """
    open_loops = [stream for stream in workload.streams if isinstance(stream.pacing, OpenLoop)]
    num_slots = 0
    for stream in workload.streams:
        match stream.pacing:
            case OpenLoop():
                starts = _starts(open_loops, open_loops.index(stream), seed, share, num_sessions)
                yield Arrivals(_started(stream, seed, starts))
            case Replay(speed):
                yield Arrivals(_recorded(stream.sessions(seed, count(share.index, share.of)), speed))
            case ClosedLoop(concurrency):
                own = [slot for slot in range(concurrency) if share.owns(num_slots + slot)]
                num_slots += concurrency
                starts_s = [_CLOSED_LOOP_RAMP_S * slot / concurrency for slot in own]
                yield Slots(starts_s, stream.sessions(seed, _dealt(own, concurrency)))


def _dealt(slots: Sequence[int], concurrency: int) -> Iterator[int]:
    """Numbers of the sessions dealt to these slots of a stream."""
    return (turn * concurrency + slot for turn in count() for slot in slots) if slots else iter(())


def _starts(
    streams: Sequence[Stream], place: int, seed: int, share: Share, num_sessions: int | None
) -> Iterator[tuple[float, int]]:
    """Start times of a process's own arrivals in the stream at `place`, and their numbers within it."""
    by_stream = [zip(stream.arrivals(seed), repeat(other)) for other, stream in enumerate(streams)]
    numbers = count()
    for arrival, (start_s, other) in enumerate(islice(heapq.merge(*by_stream), num_sessions)):
        if other == place:
            number = next(numbers)
            if share.owns(arrival):
                yield start_s, number


def _started(stream: Stream, seed: int, starts: Iterator[tuple[float, int]]) -> Iterator[tuple[float, Session]]:
    starts, again = tee(starts)
    sessions = stream.sessions(seed, (number for _, number in again))
    return zip((start_s for start_s, _ in starts), sessions, strict=False)


def _recorded(sessions: Iterator[Session], speed: float) -> Iterator[tuple[float, Session]]:
    return (((session.start_s or 0.0) / speed, session) for session in sessions)
