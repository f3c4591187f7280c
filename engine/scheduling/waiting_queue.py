"""Requests that wait to join, in the order of their policy."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator

from ..request import Request
from .queue_policy import QueuePolicy

_FIRST = float("-inf")


class WaitingQueue:
    """Sorted by rank (see `QueuePolicy`), then by arrival. Preempted requests go before all others."""

    def __init__(self, policy: QueuePolicy) -> None:
        self._policy = policy
        self._requests: list[Request] = []

    def __len__(self) -> int:
        return len(self._requests)

    def __iter__(self) -> Iterator[Request]:
        return iter(self._requests)

    def __getitem__(self, index: int) -> Request:
        return self._requests[index]

    def add(self, request: Request) -> None:
        """A request has arrived."""
        session = request.parked_session
        request.rank = self._policy.rank(
            request,
            is_resumed=session is not None and session.holds_kv,
            attained_tokens=session.attained_tokens if session is not None else 0,
        )
        insort(self._requests, request, key=_rank)

    def add_first(self, request: Request) -> None:
        """A request was thrown out: it is the next to join again."""
        request.rank = _FIRST
        self._requests.insert(0, request)

    def add_last(self, request: Request) -> None:
        """A request has had its turn for now: all that wait already go first."""
        request.rank = max(request.arrival_s, *(other.rank for other in self._requests), _FIRST)
        self._requests.append(request)

    def pop(self) -> Request:
        """Take the next."""
        return self._requests.pop(0)

    def remove(self, request: Request) -> None:
        """Take out one that no longer waits.

        Raises:
            ValueError: it does not wait.
        """
        self._requests.remove(request)


def _rank(request: Request) -> float:
    return request.rank
