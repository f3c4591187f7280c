"""Named traffic: streams of sessions and the pace at which they start."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice
from random import Random
from typing import TypeVar

from ..engine.errors import ConfigurationError
from .arrivals import arrival_times, check_arrival
from .session import Session


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """A fixed number of live sessions; one that ends is replaced. A session in a pause is live."""

    concurrency: int


@dataclass(frozen=True, slots=True)
class OpenLoop:
    """Sessions arrive at a rate (per second), however the server keeps up. `arrival` names the arrival process."""

    rate: float
    arrival: str = "poisson"

    def __post_init__(self) -> None:
        check_arrival(self.arrival)


@dataclass(frozen=True, slots=True)
class Replay:
    """Sessions start at the times in their trace, at a multiple of its speed."""

    speed: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.speed < 1e6:
            raise ConfigurationError(f"--trace-speed must be above 0, not {self.speed:g}")


ALL = "all"
"""The class that everything is in."""
TRAFFIC_VERSION = 3
"""Raised whenever the same options and seed begin to give other traffic: runs of different versions do not compare."""
Pacing = ClosedLoop | OpenLoop | Replay
SessionFactory = Callable[[Random, str], Session]
"""Draws a session with the given id."""
Supply = Callable[[int, Iterable[int]], Iterator[Session]]
"""The sessions with the given numbers (from 0, ascending) under a seed. Presets are endless; traces are not.

Sessions in between are not drawn: each of several processes that send a workload draws only its own.
"""
_Item = TypeVar("_Item")
_COUNTED_REQUESTS = 10_000
_COUNTED_SESSIONS = 2000
"""The sample of a preset whose sessions differ: whichever comes first, so that none takes a second to draw."""
_COUNTED_OF_TRACE = 100_000
"""Sessions of a trace: all of most."""


def check_pace(concurrency: int | None, request_rate: float | None, session_rate: float | None = None) -> None:
    """Raise `ConfigurationError` unless all are in range, where they are given."""
    if concurrency is not None and concurrency < 1:
        raise ConfigurationError(f"--concurrency must be at least 1, not {concurrency}")
    for option, rate in (("--request-rate", request_rate), ("--session-rate", session_rate)):
        if rate is not None and not 0 < rate < 1e6:
            raise ConfigurationError(f"{option} must be above 0, not {rate:g}")


@dataclass(frozen=True, slots=True)
class Rates:
    """Of all open loops of a workload together, per second.

    Attributes:
        sessions: That start.
        requests: That these come to, once as many sessions end as begin: the later turns of a session come later, so a
            run begins below this rate.
    """

    sessions: float
    requests: float


def drawn(name: str, make_session: SessionFactory) -> Supply:
    """Endless sessions, each a function of seed, name and number alone, so that all runs and processes agree on it."""

    def supply(seed: int, numbers: Iterable[int]) -> Iterator[Session]:
        return (make_session(Random(f"{seed}/{name}/{number}"), f"{name}-{number}") for number in numbers)

    return supply


def picked(items: Iterable[_Item], numbers: Iterable[int]) -> Iterator[_Item]:
    """The items at these positions (ascending), until they run out."""
    rest, place = iter(items), 0
    for number in numbers:
        for item in islice(rest, number - place, number - place + 1):
            yield item
            break
        else:
            return
        place = number + 1


@dataclass(frozen=True, slots=True)
class Stream:
    """A supply of sessions and the pace at which they start.

    In a mix, `share` is its fraction of the live sessions (closed loop) or of the arrivals (open loop). If it
    `is_recorded`, its sessions are those of a trace.
    """

    name: str
    supply: Supply
    pacing: Pacing
    share: float | None = None
    is_recorded: bool = False

    def sessions(self, seed: int, numbers: Iterable[int] | None = None) -> Iterator[Session]:
        """Its sessions in order, or those with the given numbers (see `Supply`)."""
        return self.supply(seed, count() if numbers is None else numbers)

    def requests_per_session(self, seed: int) -> float:
        """The mean number of requests in its sessions under a seed, sub-agents' among them.

        That of a trace is counted; that of a preset is the mean of the first sessions, so it is exact where each has as
        many turns. At least 1.
        """
        most_sessions = _COUNTED_OF_TRACE if self.is_recorded else _COUNTED_SESSIONS
        num_sessions = num_requests = 0
        for session in islice(self.sessions(seed), most_sessions):
            num_sessions += 1
            num_requests += session.num_requests
            if num_requests >= _COUNTED_REQUESTS and not self.is_recorded:
                break
        return max(num_requests / num_sessions, 1.0) if num_sessions else 1.0

    def arrivals(self, seed: int) -> Iterator[float]:
        """Start times of an open loop's sessions, in seconds since the run began; endless."""
        assert isinstance(self.pacing, OpenLoop)
        return arrival_times(self.pacing.arrival, self.pacing.rate, Random(f"{seed}/{self.name}/arrivals"))


@dataclass(frozen=True, slots=True)
class Workload:
    """Named traffic.

    Attributes:
        verdict_class: The traffic class that the verdict is about; `all` for all of them.
        description: One line for people.
    """

    name: str
    description: str
    streams: tuple[Stream, ...]
    verdict_class: str = ALL

    def requests_per_session(self, seed: int) -> float:
        """The mean number of requests in a session of the streams that a rate is about, weighed by how many start.

        Raises:
            ConfigurationError: there are no such streams: several loops, all closed.
        """
        weights = self._rated()
        counted = sum(weight * stream.requests_per_session(seed) for stream, weight in weights)
        return counted / sum(weight for _, weight in weights)

    def rates(self, seed: int) -> Rates | None:
        """What its open loops come to under a seed; None: it has none."""
        rated = [(s, s.pacing.rate) for s in self.streams if isinstance(s.pacing, OpenLoop)]
        if not rated:
            return None
        return Rates(
            sum(rate for _, rate in rated), sum(rate * stream.requests_per_session(seed) for stream, rate in rated)
        )

    def with_pacing(
        self, *, concurrency: int | None = None, session_rate: float | None = None, arrival: str | None = None
    ) -> Workload:
        """The same traffic at another pace.

        In a mix, every stream changes by its share. Otherwise `concurrency` applies to each closed-loop stream, and
        `session_rate` to the open-loop ones together. A workload of one stream switches between the two kinds as
        needed. A rate of requests has to be divided by `requests_per_session` first.

        Raises:
            ConfigurationError: a value is out of range, or the workload has no such stream.
        """
        check_pace(concurrency, None, session_rate)
        is_uniform = len(self.streams) == 1 or self._is_mix
        if is_uniform and concurrency is not None and session_rate is not None:
            raise ConfigurationError("give --concurrency or a rate, not both: this workload has one pace")
        workload = self
        if concurrency is not None:
            workload = workload._at_concurrency(concurrency)
        if session_rate is not None:
            workload = workload._at_rate(session_rate)
        if arrival is not None:
            streams = tuple(
                replace(stream, pacing=replace(stream.pacing, arrival=arrival))
                if isinstance(stream.pacing, OpenLoop)
                else stream
                for stream in workload.streams
            )
            if streams == workload.streams and not any(isinstance(s.pacing, OpenLoop) for s in streams):
                raise ConfigurationError("--arrival applies to open-loop traffic; add --request-rate")
            workload = replace(workload, streams=streams)
        return workload

    @property
    def _is_mix(self) -> bool:
        return all(stream.share is not None for stream in self.streams)

    def _rated(self) -> list[tuple[Stream, float]]:
        """The streams that a rate is about, and by how many of the sessions that start each one has."""
        if self._is_mix:
            return [(stream, stream.share or 0.0) for stream in self.streams]
        if len(self.streams) == 1:
            return [(self.streams[0], 1.0)]
        rated = [(s, s.pacing.rate) for s in self.streams if isinstance(s.pacing, OpenLoop)]
        if not rated:
            raise ConfigurationError(f"a rate does not apply to the workload {self.name!r}: its loops are closed")
        return rated

    def _at_concurrency(self, concurrency: int) -> Workload:
        pacing = ClosedLoop(concurrency)
        if self._is_mix:
            return replace(self, streams=mix(pacing, [(s.share or 0.0, s.name, s.supply) for s in self.streams]))
        changed = [s for s in self.streams if isinstance(s.pacing, ClosedLoop) or len(self.streams) == 1]
        if not changed:
            raise ConfigurationError(f"--concurrency does not apply to the workload {self.name!r}")
        return self._with_paces({stream.name: pacing for stream in changed})

    def _at_rate(self, session_rate: float) -> Workload:
        if self._is_mix:
            parts = [(s.share or 0.0, s.name, s.supply) for s in self.streams]
            return replace(self, streams=mix(OpenLoop(session_rate), parts))
        rated = self._rated()
        whole = sum(weight for _, weight in rated)
        paces = {}
        for stream, weight in rated:
            usual = stream.pacing if isinstance(stream.pacing, OpenLoop) else OpenLoop(1.0)
            paces[stream.name] = replace(usual, rate=session_rate * (weight / whole))  # bursts stay bursts
        return self._with_paces(paces)

    def _with_paces(self, paces: Mapping[str, Pacing]) -> Workload:
        """The same, and these of the streams, by name, at another pace."""
        return replace(self, streams=tuple(replace(s, pacing=paces.get(s.name, s.pacing)) for s in self.streams))


def mix(pacing: ClosedLoop | OpenLoop, parts: Sequence[tuple[float, str, Supply]]) -> tuple[Stream, ...]:
    """Streams that share a pace. `parts`: the share, name and supply of each.

    In a closed loop the shares are fractions of live sessions, not of starts: long sessions would otherwise crowd out
    short ones, and the mix would drift during the run. A part too small for one live session is left out.
    """
    shares = [share for share, _, _ in parts]
    if isinstance(pacing, OpenLoop):
        paces: list[Pacing] = [replace(pacing, rate=pacing.rate * share) for share in shares]
    else:
        paces = [ClosedLoop(count) for count in _apportion(pacing.concurrency, shares)]
    return tuple(
        Stream(name, supply, pace, share)
        for (share, name, supply), pace in zip(parts, paces, strict=True)
        if pace != ClosedLoop(0)
    )


def _apportion(total: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers that add up to `total`, by the largest-remainder method."""
    exact = [total * share / sum(shares) for share in shares]
    counts = [int(value) for value in exact]
    by_remainder = sorted(range(len(exact)), key=lambda index: counts[index] - exact[index])
    for index in by_remainder[: total - sum(counts)]:
        counts[index] += 1
    return counts
