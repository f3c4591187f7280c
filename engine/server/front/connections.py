"""The connections of a server: how many there may be, how long each may take, and which go first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Protocol

from .repeated_log import RepeatedLog


class Phase(Enum):
    """What a connection is about.

    HEAD: a request's line and headers are awaited. SPARE_HEAD: the same, beyond the ordinary number of connections.
    REQUEST: one is being read or answered. STALLED: an answer waits because the client reads nothing. IDLE: kept alive
    between two requests. CLOSING: the last answer is on its way out.
    """

    HEAD = "did not finish a request's headers"
    SPARE_HEAD = "did not finish a request's headers, with all connections in use"
    REQUEST = "were being answered"
    STALLED = "read nothing of their answers"
    IDLE = "were idle"
    CLOSING = "did not take the end of their answers"


_LONGEST_S: Mapping[Phase, float] = MappingProxyType(
    {
        Phase.HEAD: 20.0,  # one packet, for any client that means it; nginx and Apache allow 20 to 60 s
        Phase.SPARE_HEAD: 1.0,  # few have to be enough for all
        Phase.STALLED: 60.0,  # it holds a place in the batch that others wait for
        Phase.CLOSING: 15.0,
    }
)
"""REQUEST is bounded by whoever reads a body and answers, IDLE by aiohttp's own time limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """How many connections there may be.

    Attributes:
        most: For requests of every kind.
        most_spare: Beyond these. They may ask for /health only, and make room for each other.
        yield_s: At the limit, whoever has not finished a request's headers after this time makes room for a newcomer.
        spare_turns: The same between spare ones, in turns of accepting: on a busy machine, time may pass without a look
            at what they sent.
        longest_s: How long each phase may last.
    """

    most: int
    most_spare: int = 64
    yield_s: float = 1.0
    spare_turns: int = 5
    longest_s: Mapping[Phase, float] = field(default_factory=lambda: _LONGEST_S)


class Member(Protocol):
    """A connection, as far as its place matters."""

    phase: Phase | None
    """None: it has no place."""
    is_spare: bool

    def cut(self, *, is_asking: bool) -> None:
        """End it now. `is_asking`: before a request's head was complete, so that nothing has been answered yet."""


class Connections:
    """Gives out places, and takes them back from those who keep them too long.

    Its time is what `advance` is told, so that a server that stood still does not cut off everyone whose data it has
    yet to read.
    """

    def __init__(self, limits: ConnectionLimits, log: RepeatedLog) -> None:
        self._limits = limits
        self._log = log
        self._now_s = 0.0
        self._since_s: dict[Phase, dict[Member, float]] = {phase: {} for phase in Phase}
        """Whoever has been in a phase for longest comes first."""
        self._turn = 0
        self._spares: dict[Member, int] = {}
        """The turn in which each of them came."""

    @property
    def num_open(self) -> int:
        """All that have a place."""
        return sum(map(len, self._since_s.values()))

    def begin_turn(self) -> None:
        """New connections are about to be accepted."""
        self._turn += 1

    def can_join(self) -> bool:
        """Whether there is a place, or someone who makes room."""
        return self._has_ordinary_place() or self._has_spare_place() or self._yielding_spare() is not None

    def join(self, newcomer: Member) -> None:
        """Give a place to a connection that has just been accepted. Only after `can_join`."""
        if self._has_ordinary_place():
            self._make_room()
        else:
            newcomer.is_spare = True
            if not self._has_spare_place() and (other := self._yielding_spare()) is not None:
                self._cut(other)
            self._spares[newcomer] = self._turn
            self._log.warning("connections", f"all {self._limits.most} are in use (see 'ulimit -n')")
        newcomer.phase = Phase.SPARE_HEAD if newcomer.is_spare else Phase.HEAD
        self._since_s[newcomer.phase][newcomer] = self._now_s

    def move(self, member: Member, phase: Phase) -> None:
        """Where a connection is now. One that has lost its place has lost it for good."""
        if member.phase is not None:
            del self._since_s[member.phase][member]
            member.phase = phase
            self._since_s[phase][member] = self._now_s

    def leave(self, member: Member) -> None:
        """Take the place back."""
        if member.phase is not None:
            del self._since_s[member.phase][member]
            member.phase = None
            self._spares.pop(member, None)

    def advance(self, elapsed_s: float) -> None:
        """Let time pass, and cut off who takes too long."""
        self._now_s += elapsed_s
        for phase, longest_s in self._limits.longest_s.items():
            while (member := self._oldest(phase, longest_s)) is not None:
                self._cut(member)
                self._log.warning("slow clients", f"cut off after {longest_s:g} s: {phase.value}")

    def _has_ordinary_place(self) -> bool:
        return self.num_open - len(self._spares) < self._limits.most or self._yielding() is not None

    def _has_spare_place(self) -> bool:
        return len(self._spares) < self._limits.most_spare

    def _make_room(self) -> None:
        if self.num_open - len(self._spares) >= self._limits.most and (other := self._yielding()) is not None:
            self._cut(other)

    def _yielding(self) -> Member | None:
        return self._oldest(Phase.IDLE, 0.0) or self._oldest(Phase.HEAD, self._limits.yield_s)

    def _yielding_spare(self) -> Member | None:
        oldest = self._oldest(Phase.SPARE_HEAD, 0.0)
        return oldest if oldest is not None and self._turn - self._spares[oldest] >= self._limits.spare_turns else None

    def _oldest(self, phase: Phase, least_s: float) -> Member | None:
        """Who has been in a phase for longest, if that is `least_s` at least."""
        member, since_s = next(iter(self._since_s[phase].items()), (None, 0.0))
        return member if member is not None and self._now_s - since_s >= least_s else None

    def _cut(self, member: Member) -> None:
        is_asking = member.phase in (Phase.HEAD, Phase.SPARE_HEAD)
        self.leave(member)
        member.cut(is_asking=is_asking)
