"""Which waiting request joins next, and which running one makes way for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Protocol

from ..request import Request

PolicyName = Literal["fcfs", "resume-first", "least-attained"]


class QueuePolicy(Protocol):
    """An order of waiting requests. Each counts as having arrived at its `rank`; the lowest joins first.

    A rank is given once, when the request begins to wait, and is never further than `bound_s` from its arrival: a
    request can only be overtaken by those that arrive within twice that time behind it, so no request starves.

    Attributes:
        bound_s: Largest distance between rank and arrival, in seconds.
    """

    bound_s: float

    def rank(self, request: Request, *, is_resumed: bool, attained_tokens: int) -> float:
        """When the request counts as having arrived.

        Args:
            request: Its `arrival_s` is when it did.
            is_resumed: KV of its session's context is held for it.
            attained_tokens: Tokens its session has had computed so far, over all turns; 0 without a session.
        """


class FirstCome:
    """In order of arrival."""

    bound_s = 0.0

    def rank(self, request: Request, *, is_resumed: bool, attained_tokens: int) -> float:
        return request.arrival_s


class ResumeFirst:
    """Turns whose context is held count as having arrived earlier: they occupy memory already, and need little work."""

    bound_s = 2.0

    def rank(self, request: Request, *, is_resumed: bool, attained_tokens: int) -> float:
        return request.arrival_s - self.bound_s * is_resumed


class LeastAttained:
    """Sessions that have had much count as having arrived later: least attained service (Autellix, 2025), bounded.

    It favours short programs: a chat's first turn goes before the fiftieth of an agent.
    """

    bound_s = 5.0
    tokens_per_s = 8192.0
    """Tokens attained that are worth a second in the queue."""

    def rank(self, request: Request, *, is_resumed: bool, attained_tokens: int) -> float:
        return request.arrival_s + min(attained_tokens / self.tokens_per_s, self.bound_s)


POLICIES: dict[PolicyName, type[QueuePolicy]] = {
    "fcfs": FirstCome,
    "resume-first": ResumeFirst,
    "least-attained": LeastAttained,
}


def longest_turn(running: Iterable[Request], slice_tokens: int) -> Request | None:
    """Of the requests that are turns of sessions, the one that has generated most since it joined; None below a slice.

    Only committed tokens count: each time it joins it gets on by a slice at least, whatever is in flight when it goes.
    """
    turns = [request for request in running if request.parked_session is not None]
    longest = max(turns, key=_num_generated, default=None)
    return longest if longest is not None and _num_generated(longest) >= slice_tokens else None


def _num_generated(request: Request) -> int:
    return len(request.token_ids) - request.slice_start
