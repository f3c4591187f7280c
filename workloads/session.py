"""What traffic is made of: turns in sessions, sessions in streams, streams in a workload."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random

from ..engine.errors import ConfigurationError
from .arrivals import check_arrival
from .distributions import Distribution


class Pause(StrEnum):
    """What a session waited for before a turn."""

    NONE = "none"
    TOOL = "tool"
    HUMAN = "human"


@dataclass(frozen=True, slots=True)
class Turn:
    """One request of a session.

    Attributes:
        new_tokens: Tokens this turn adds to the conversation: a question, a tool's result.
        output_tokens: Tokens the server is to generate.
        pause: What happened since the previous turn ended.
        pause_s: How long that took. The turn is due then, however late the generator is.
        pause_was_capped: It would have taken longer, but for the cap on pauses.
    """

    new_tokens: int
    output_tokens: int
    pause: Pause = Pause.NONE
    pause_s: float = 0.0
    pause_was_capped: bool = False


@dataclass(frozen=True, slots=True)
class SharedPrefix:
    """Text that many sessions begin with (a system prompt, tool definitions). The same name means the same text."""

    name: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Session:
    """A conversation. Turns follow each other, each with the whole conversation so far as its prompt."""

    session_id: str
    traffic_class: str
    turns: tuple[Turn, ...]
    prefix: SharedPrefix | None = None


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """A fixed number of live sessions; one that ends is replaced. Pauses count as alive."""

    concurrency: int


@dataclass(frozen=True, slots=True)
class OpenLoop:
    """Sessions arrive at a rate (per second), whatever the server does with them. `arrival` names a process."""

    rate: float
    arrival: str = "poisson"

    def __post_init__(self) -> None:
        check_arrival(self.arrival)


Pacing = ClosedLoop | OpenLoop
SessionFactory = Callable[[Random, str], Session]
"""Draws a session with the given id."""


@dataclass(frozen=True, slots=True)
class Stream:
    """An endless supply of sessions and the pace they start at.

    `share` is its part of the live sessions (closed loop) or of the arrivals (open loop), in a workload that is a mix.
    """

    name: str
    make_session: SessionFactory
    pacing: Pacing
    share: float | None = None

    def session(self, seed: int, index: int) -> Session:
        """Session number `index`: a function of seed and index only, so every run and every shard agrees on it."""
        return self.make_session(Random(f"{seed}/{self.name}/{index}"), f"{self.name}-{index}")


@dataclass(frozen=True, slots=True)
class Workload:
    """Named traffic.

    Attributes:
        verdict_class: The traffic class the verdict is about; `all` if it is about everything.
        description: One line for people.
    """

    name: str
    description: str
    streams: tuple[Stream, ...]
    verdict_class: str = "all"

    def with_pacing(
        self, *, concurrency: int | None = None, request_rate: float | None = None, arrival: str | None = None
    ) -> Workload:
        """The same traffic at another pace.

        A mix changes all of its streams, each by its share. Otherwise `concurrency` is for the closed-loop streams and
        `request_rate` for the open-loop ones, and a workload of one stream changes its kind when the other is given.

        Raises:
            ConfigurationError: a value is out of range, or the workload has no such stream.
        """
        if concurrency is not None and concurrency < 1:
            raise ConfigurationError(f"--concurrency must be at least 1, not {concurrency}")
        if request_rate is not None and not 0 < request_rate < 1e6:
            raise ConfigurationError(f"--request-rate must be above 0, not {request_rate:g}")
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
                raise ConfigurationError("--arrival is for open-loop traffic: give --request-rate too")
            workload = replace(workload, streams=streams)
        return workload

    @property
    def _is_mix(self) -> bool:
        return all(stream.share is not None for stream in self.streams)

    def _paced(self, kind: type[ClosedLoop] | type[OpenLoop], pacing: Pacing, option: str) -> Workload:
        if self._is_mix:
            return replace(self, streams=mix(pacing, [(s.share or 0.0, s.name, s.make_session) for s in self.streams]))
        if len(self.streams) == 1:
            return replace(self, streams=(replace(self.streams[0], pacing=pacing),))
        if not any(isinstance(stream.pacing, kind) for stream in self.streams):
            raise ConfigurationError(f"{option} does not apply to the workload {self.name!r}")
        return replace(
            self,
            streams=tuple(
                replace(stream, pacing=pacing) if isinstance(stream.pacing, kind) else stream for stream in self.streams
            ),
        )


def mix(pacing: Pacing, parts: Sequence[tuple[float, str, SessionFactory]]) -> tuple[Stream, ...]:
    """Streams that share a pace: (share, name, factory) of each.

    The shares are of the sessions that are alive, not of those that start: long sessions would otherwise crowd out
    the short ones, and the mix would drift while it is measured. A part too small for one live session is left out.
    """
    shares = [share for share, _, _ in parts]
    if isinstance(pacing, OpenLoop):
        paces: list[Pacing] = [replace(pacing, rate=pacing.rate * share) for share in shares]
    else:
        paces = [ClosedLoop(count) for count in _apportion(pacing.concurrency, shares)]
    return tuple(
        Stream(name, make_session, pace, share)
        for (share, name, make_session), pace in zip(parts, paces, strict=True)
        if pace != ClosedLoop(0)
    )


def _apportion(total: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers that add up to `total`, by the largest remainders."""
    exact = [total * share / sum(shares) for share in shares]
    counts = [int(value) for value in exact]
    by_remainder = sorted(range(len(exact)), key=lambda index: counts[index] - exact[index])
    for index in by_remainder[: total - sum(counts)]:
        counts[index] += 1
    return counts


@dataclass(frozen=True, slots=True)
class Scales:
    """How a preset is fitted to a small machine.

    Attributes:
        context: Factor on prompts (prefixes, questions, tool results).
        time: Factor on pauses.
        pause_cap_s: No pause is longer.
        input_tokens: Instead of each turn's own new tokens.
        output_tokens: Instead of each turn's own output.
        turns: Instead of each session's own number of turns.
        tool_pause_s: Instead of each tool's own latency; neither scaled nor capped.
    """

    context: float = 1.0
    time: float = 1.0
    pause_cap_s: float = 10.0
    input_tokens: Distribution | None = None
    output_tokens: Distribution | None = None
    turns: Distribution | None = None
    tool_pause_s: Distribution | None = None

    def __post_init__(self) -> None:
        for name, value in (("--context-scale", self.context), ("--time-scale", self.time)):
            if not 0 < value <= 1000:
                raise ConfigurationError(f"{name} must be above 0, not {value:g}")
        if not self.pause_cap_s >= 0:
            raise ConfigurationError(f"--pause-cap must not be negative, not {self.pause_cap_s:g}")
