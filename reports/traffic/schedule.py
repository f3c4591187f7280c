"""When the turns of a session will be due, as far as that is known before its answers are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ...workloads.session import Session, Turn


@dataclass(frozen=True, slots=True)
class DueTurn:
    """A turn of a session or of one of its sub-agents. Times are seconds since the outermost session began."""

    session: Session
    index: int
    due_s: float
    end_s: float

    @property
    def turn(self) -> Turn:
        """What is asked then."""
        return self.session.turns[self.index]

    def later(self, by_s: float) -> DueTurn:
        """The same in a session that begins later."""
        return replace(self, due_s=self.due_s + by_s, end_s=self.end_s + by_s)


def due_turns(session: Session, answer_s: Callable[[Turn], float]) -> Iterator[DueTurn]:
    """The turns of a session, and those of its sub-agents before the turn that waits for them.

    `answer_s`: how long a turn's answer is taken to last.
    """
    due_s = ended_s = 0.0
    for index, turn in enumerate(session.turns):
        waited_s = 0.0
        for child in turn.children:
            of_child = [one.later(ended_s) for one in due_turns(child, answer_s)]
            waited_s = max(waited_s, of_child[-1].end_s - ended_s if of_child else 0.0)
            yield from of_child
        if index:
            due_s = max(ended_s + max(turn.pause_s, waited_s), due_s + turn.gap_s)
            if turn.tick_s is not None:
                due_s = math.ceil(due_s / turn.tick_s) * turn.tick_s
        ended_s = due_s + answer_s(turn)
        yield DueTurn(session, index, due_s, ended_s)
