"""When a waiting request may join the running ones: what makes batching static or continuous."""

from __future__ import annotations

from typing import Protocol

from .limits import SchedulerConfig
from .waiting_queue import WaitingQueue


class Admission(Protocol):
    """Decides how many requests may join now. Told of each one that did, and when no more could."""

    def num_admissible(self, waiting: WaitingQueue, num_running: int, now_s: float) -> int:
        """How many waiting requests may join in the step being planned."""

    def admitted(self) -> None:
        """One request joined."""

    def blocked(self) -> None:
        """The next request did not fit into the free KV blocks."""

    def opens_at_s(self, waiting: WaitingQueue) -> float:
        """When, with nothing running, the next request may join if none arrives before."""


class ContinuousAdmission:
    """Every request that fits joins, at every step."""

    def __init__(self, max_num_seqs: int) -> None:
        self._max_num_seqs = max_num_seqs

    def num_admissible(self, waiting: WaitingQueue, num_running: int, now_s: float) -> int:
        return min(len(waiting), self._max_num_seqs - num_running)

    def admitted(self) -> None:
        pass

    def blocked(self) -> None:
        pass

    def opens_at_s(self, waiting: WaitingQueue) -> float:
        return _oldest_s(waiting)


class WindowAdmission:
    """Static batching: collect `size` requests or wait `timeout_s`, then admit no one until all have ended.

    Finished sequences leave at once and cost no padding, which real static batching servers do pay: what this
    mode shows of the price of waiting is its lower bound.
    """

    def __init__(self, size: int, timeout_s: float) -> None:
        self._size = size
        self._timeout_s = timeout_s
        self._open_slots = 0

    def num_admissible(self, waiting: WaitingQueue, num_running: int, now_s: float) -> int:
        if num_running == 0:
            is_due = now_s >= self.opens_at_s(waiting)
            self._open_slots = min(len(waiting), self._size) if is_due else 0
        return min(len(waiting), self._open_slots)

    def admitted(self) -> None:
        self._open_slots -= 1

    def blocked(self) -> None:
        # Otherwise blocks freed half-way through would let latecomers in, and the batch would never end.
        self._open_slots = 0

    def opens_at_s(self, waiting: WaitingQueue) -> float:
        return _oldest_s(waiting) + (0.0 if len(waiting) >= self._size else self._timeout_s)


def _oldest_s(waiting: WaitingQueue) -> float:
    """Arrival of the request that has waited longest, wherever in the queue it is."""
    return min(request.arrival_s for request in waiting)


def make_admission(config: SchedulerConfig) -> Admission:
    """The admission rule that `config.batching` names."""
    if config.batching == "window":
        return WindowAdmission(min(config.window_size, config.max_num_seqs), config.window_timeout_s)
    return ContinuousAdmission(config.max_num_seqs)
