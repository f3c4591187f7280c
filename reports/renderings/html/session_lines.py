"""A fair sample of a run's sessions: what became of their turns, their pauses, and their KV meanwhile."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable

import msgspec

from ....engine.loop.step_log import StepRecord
from ....workloads.result import Result

MOST_SESSIONS = 80
_MOST_TURNS = 400
"""Of a session that are shown; `MOST_EVENTS` likewise."""
_MOST_EVENTS = 400
_LONGEST_NAME = 60


class TurnLine(msgspec.Struct, array_like=True, gc=False):
    """A turn. Times are seconds since the run began.

    Attributes:
        state: ok, failed, censored (cut off at the end of the run) or dropped (due and never sent).
        pause: What the session waited for before it: none, tool, human, heartbeat.
    """

    number: int
    due_s: float
    first_s: float | None
    end_s: float
    state: str
    pause: str
    tool: str | None
    prompt_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None
    error: str | None


class ParkingMark(msgspec.Struct, array_like=True, gc=False):
    """What the engine did about a parked session. `remaining_s`: how long it expected the pause to last from then."""

    at_s: float
    action: str
    num_blocks: int
    tool: str | None
    remaining_s: float | None


class SessionLine(msgspec.Struct, kw_only=True):
    """A session. `left_out`: turns that are not shown, because there are too many."""

    name: str
    traffic_class: str
    turns: list[TurnLine] = []
    parking: list[ParkingMark] = []
    left_out: int = 0


class SessionLines(msgspec.Struct, kw_only=True):
    """The sessions that are shown, by class and then by when they began.

    Attributes:
        num_sessions: How many there were, by class.
    """

    num_sessions: dict[str, int]
    lines: list[SessionLine]


class SessionCollector:
    """Keeps some sessions of each class, chosen by a hash of their name: the same each time, and none by its fate.

    Those with the least hashes stay. An evicted one never comes back, because the bound only falls, so what is kept has
    all of its turns.
    """

    def __init__(self) -> None:
        self._num_sessions: Counter[str] = Counter()
        self._kept: dict[str, SessionLine] = {}
        self._ranks: dict[str, list[tuple[int, str]]] = {}
        """By class: (negative hash, name), as a heap with the one that goes next on top."""

    def add(self, result: Result) -> None:
        """Take in a turn; those of a session come in order."""
        self._num_sessions[result.traffic_class] += result.turn_index == 0
        line = self._kept.get(result.session_id)
        if line is None and (line := self._enter(result)) is None:
            return
        if len(line.turns) < _MOST_TURNS:
            line.turns.append(_turn(result))
        else:
            line.left_out += 1

    def _enter(self, result: Result) -> SessionLine | None:
        ranks = self._ranks.setdefault(result.traffic_class, [])
        rank = (-_hash(result.session_id), result.session_id)
        if len(ranks) < MOST_SESSIONS:
            heapq.heappush(ranks, rank)
        else:
            evicted = heapq.heappushpop(ranks, rank)
            if evicted == rank:
                return None
            del self._kept[evicted[1]]
        line = SessionLine(name=result.session_id, traffic_class=result.traffic_class)
        self._kept[result.session_id] = line
        return line

    def session_lines(self, steps: Iterable[StepRecord], origin_s: float) -> SessionLines:
        """The sample, with what the engine's steps say; `origin_s`: when the run began, by the engine's clock."""
        chosen = self._chosen()
        _mark_parking(chosen, steps, origin_s)
        for line in chosen.values():
            line.name = shortened(line.name) or ""
            line.turns.sort(key=lambda turn: turn.due_s)
        lines = sorted(chosen.values(), key=lambda line: (line.traffic_class, line.turns[0].due_s, line.name))
        kept = Counter(line.traffic_class for line in lines)
        num_sessions = {name: max(self._num_sessions[name], kept[name]) for name in sorted(kept)}
        return SessionLines(num_sessions=num_sessions, lines=lines)

    def _chosen(self) -> dict[str, SessionLine]:
        """As many of each class, and what a small class leaves goes to the others."""
        places, found = MOST_SESSIONS, {}
        by_size = sorted(self._ranks.items(), key=lambda item: (len(item[1]), item[0]))
        for index, (_, ranks) in enumerate(by_size):
            share = max(1, places // (len(by_size) - index))
            for _, name in sorted(ranks, reverse=True)[: min(share, places)]:
                found[name] = self._kept[name]
                places -= 1
        return found


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(errors="replace"), digest_size=8).digest(), "big")


def _turn(result: Result) -> TurnLine:
    state = "censored" if result.censored else "ok"
    if result.error is not None:
        state = "failed"
    elif result.is_dropped:
        state = "dropped"
    return TurnLine(
        number=result.turn_index,
        due_s=round(result.due_s, 4),
        first_s=None if result.first_s is None else round(result.first_s, 4),
        end_s=round(max(result.end_s, result.due_s), 4),
        state=state,
        pause=result.pause.value,
        tool=shortened(result.tool),
        prompt_tokens=result.prompt_tokens,
        cached_tokens=result.cached_tokens,
        output_tokens=result.output_tokens,
        error=shortened(result.error),
    )


def _mark_parking(chosen: dict[str, SessionLine], steps: Iterable[StepRecord], origin_s: float) -> None:
    # Over HTTP the engine knows a session as RUN/HASH (`HttpTarget`), in this process by its own name.
    by_name = {hashlib.blake2b(name.encode(errors="replace"), digest_size=16).hexdigest(): name for name in chosen}
    for step in steps:
        for event in step.parking:
            name = event.session_id
            if name not in chosen:
                name = by_name.get(name.rpartition("/")[2], name)
            line = chosen.get(name)
            if line is not None and len(line.parking) < _MOST_EVENTS:
                remaining_s = None if event.remaining_s is None else round(event.remaining_s, 3)
                at_s = round(step.planned_s - origin_s, 4)
                line.parking.append(
                    ParkingMark(at_s, event.action, event.num_blocks, shortened(event.tool), remaining_s)
                )


def shortened(text: str | None) -> str | None:
    """A name of others, which may be of any length."""
    return text if text is None or len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"
