"""The turns that a stream of a workload will send, drawn as a run draws them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from ...reports.recording.recorder import resumes
from ...reports.traffic.schedule import DueTurn, due_turns
from ...workloads.session import Pause, Session, Turn
from ...workloads.workload import ALL

MOST_DRAWN = 8_000
"""Turns of a stream without an end: enough to know it by, and drawn in a quarter of a second."""
MOST_READ = 50_000
"""Turns of a trace. Reading them takes two seconds."""

_TTFT_S, _TPOT_S = 0.2, 0.015
"""What answers are taken to last, as nobody has asked the server yet: about as long as those of a usual model on a GPU
that is not too busy. Pauses between turns are longer, and how many turns are due in a run hangs on those."""
OF_SESSIONS = ("session", "session_model", "worst_ttft", "final_ttft")
"""Metrics of whole sessions, which count if they began in the measured part."""
Samples = Counter[tuple[str, str]]
"""How many values a run will have, by metric and traffic class."""


@dataclass(frozen=True, slots=True)
class DrawnTurn:
    """A turn without its text, which of a long trace would be all of the trace.

    Attributes:
        start_s: When its session begins, in seconds since the run began.
        due_s: When it is due after that. `end_s`: when its answer ends.
        values: What it gives values of, and how many (see `metrics_of`).
    """

    start_s: float
    due_s: float
    end_s: float
    traffic_class: str
    values: tuple[tuple[str, int], ...]


@dataclass(slots=True)
class Drawn:
    """The turns of one stream, by when they are due.

    Attributes:
        starts_s: Of the sessions, in seconds since the run began. `paused_s`: what the pauses of each come to.
        turns: Of all of them.
        stretch: Where only the first part of a long run was drawn: a factor on starts, and what a turn counts for.
        is_whole: Nothing was left out. Of a trace that is too long, what is there is only a part.
        unsent_sessions: Of a trace, those that begin after the end of the run; `unsent_turns`: theirs.
    """

    starts_s: list[float] = field(default_factory=list)
    paused_s: list[float] = field(default_factory=list)
    turns: list[DrawnTurn] = field(default_factory=list)
    stretch: float = 1.0
    is_whole: bool = True
    unsent_sessions: int = 0
    unsent_turns: int = 0

    @property
    def num_sessions(self) -> float:
        """Sessions that a run starts."""
        return len(self.starts_s) * self.stretch

    def samples(self, from_s: float, to_s: float) -> Samples:
        """What counts of the turns that are due in this part of the run."""
        found: dict[tuple[str, str], float] = {}
        for turn in self.turns:
            if from_s <= self._at_s(turn) < to_s:
                has_begun_before = turn.start_s * self.stretch < from_s
                for metric, number in turn.values:
                    if has_begun_before and metric in OF_SESSIONS:
                        continue
                    key = metric, turn.traffic_class
                    found[key] = found.get(key, 0.0) + number * self.stretch
        return Counter({key: round(number) for key, number in found.items()})

    def requests(self, from_s: float, to_s: float, traffic_class: str) -> float:
        """Requests of a class that are due in this part of the run."""
        return self.stretch * sum(
            traffic_class in (ALL, turn.traffic_class) and from_s <= self._at_s(turn) < to_s for turn in self.turns
        )

    @property
    def last_s(self) -> float:
        """When the last answer will have ended."""
        return max((turn.start_s * self.stretch + turn.end_s for turn in self.turns), default=0.0)

    def _at_s(self, turn: DrawnTurn) -> float:
        """When a turn is due, in seconds since the run began."""
        return turn.start_s * self.stretch + turn.due_s


def draw(
    timed: Iterable[tuple[float, Session]],
    duration_s: float | None,
    *,
    is_recorded: bool,
    num_sessions: float = math.inf,
) -> Drawn:
    """Draw the sessions that start within the run. Of a trace, the others are counted.

    Args:
        timed: The sessions with their starts.
        duration_s: Turns due later are not sent; None: all are.
        is_recorded: They are those of a trace.
        num_sessions: How many there are.

    Raises:
        TraceError: a row of the trace is bad.
    """
    drawn, most = Drawn(), MOST_READ if is_recorded else MOST_DRAWN
    for start_s, session in timed:
        if len(drawn.turns) + drawn.unsent_turns >= most:
            if is_recorded:
                drawn.is_whole = False
            else:
                by_time = math.inf if duration_s is None or not start_s else duration_s / start_s
                drawn.stretch = max(min(by_time, num_sessions / len(drawn.starts_s)), 1.0)
            break
        if drawn.unsent_sessions or (duration_s is not None and start_s >= duration_s):
            if not is_recorded:
                break  # a run looks at no session beyond, either
            drawn.unsent_sessions += 1
            drawn.unsent_turns += session.num_requests
            continue
        drawn.starts_s.append(start_s)
        drawn.paused_s.append(sum(max(turn.pause_s, turn.gap_s) for turn in session.turns[1:]))
        drawn.turns += [
            DrawnTurn(start_s, due.due_s, due.end_s, due.session.traffic_class, _shared(tuple(metrics_of(due))))
            for due in due_turns(session, _answer_s)
        ]
    return drawn


@lru_cache(maxsize=10_000)
def _shared(values: tuple[tuple[str, int], ...]) -> tuple[tuple[str, int], ...]:
    """The same for all turns that give the same."""
    return values


def _answer_s(turn: Turn) -> float:
    return _TTFT_S + _TPOT_S * turn.output_tokens


def metrics_of(due: DueTurn) -> Iterator[tuple[str, int]]:
    """The metrics that a turn gives values of, and how many: as `Recorder` counts those that succeed."""
    turn = due.turn
    for name in ("ttft", "ttfa", "e2e", "start_delay", *_of_ttft(due)):
        yield name, 1
    if turn.output_tokens > 1:
        yield from (("max_gap", 1), ("tpot", 1), ("itl", turn.output_tokens - 1))
    if due.index == len(due.session.turns) - 1:
        yield from ((metric, 1) for metric in OF_SESSIONS)


def _of_ttft(due: DueTurn) -> tuple[str, ...]:
    """The part of the requests that a turn belongs to."""
    if due.turn.pause is Pause.TOOL:
        return resumes(max(due.turn.pause_s, due.turn.gap_s))
    return ("continued_ttft" if due.index else "fresh_ttft",)
