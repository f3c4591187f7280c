"""Named traffic: streams of sessions and the pace at which they start."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
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
TRAFFIC_VERSION = 2
"""Raised whenever the same options and seed begin to give other traffic: runs of different versions do not compare."""
Pacing = ClosedLoop | OpenLoop | Replay
SessionFactory = Callable[[Random, str], Session]
"""Draws a session with the given id."""
Supply = Callable[[int, Iterable[int]], Iterator[Session]]
"""The sessions with the given numbers (from 0, ascending) under a seed. Presets are endless; traces are not.

Sessions in between are not drawn: each of several processes that send a workload draws only its own.
"""
_Item = TypeVar("_Item")


def check_pace(concurrency: int | None, request_rate: float | None) -> None:
    """Raise `ConfigurationError` unless both are in range, where they are given."""
    if concurrency is not None and concurrency < 1:
        raise ConfigurationError(f"--concurrency must be at least 1, not {concurrency}")
    if request_rate is not None and not 0 < request_rate < 1e6:
        raise ConfigurationError(f"--request-rate must be above 0, not {request_rate:g}")


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

    def with_pacing(
        self, *, concurrency: int | None = None, request_rate: float | None = None, arrival: str | None = None
    ) -> Workload:
        """The same traffic at another pace.

        In a mix, every stream changes by its share. Otherwise `concurrency` applies to the closed-loop streams and
        `request_rate` to the open-loop ones. A workload of one stream switches between the two kinds as needed.

        Raises:
            ConfigurationError: a value is out of range, or the workload has no such stream.
        """
        check_pace(concurrency, request_rate)
        is_uniform = len(self.streams) == 1 or self._is_mix
        if is_uniform and concurrency is not None and request_rate is not None:
            raise ConfigurationError("give --concurrency or --request-rate, not both: this workload has one pace")
        workload = self
        if concurrency is not None:
            workload = workload._paced(ClosedLoop, ClosedLoop(concurrency), "--concurrency")
        if request_rate is not None:
            workload = workload._paced(OpenLoop, OpenLoop(request_rate), "--request-rate")
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

    def _paced(self, kind: type[ClosedLoop] | type[OpenLoop], pacing: ClosedLoop | OpenLoop, option: str) -> Workload:
        if self._is_mix:
            return replace(self, streams=mix(pacing, [(s.share or 0.0, s.name, s.supply) for s in self.streams]))
        is_single = len(self.streams) == 1
        if not is_single and not any(isinstance(stream.pacing, kind) for stream in self.streams):
            raise ConfigurationError(f"{option} does not apply to the workload {self.name!r}")

        def paced(stream: Stream) -> Stream:
            if isinstance(stream.pacing, OpenLoop) and isinstance(pacing, OpenLoop):
                return replace(stream, pacing=replace(stream.pacing, rate=pacing.rate))  # bursts stay bursts
            return replace(stream, pacing=pacing) if is_single or isinstance(stream.pacing, kind) else stream

        return replace(self, streams=tuple(map(paced, self.streams)))


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
