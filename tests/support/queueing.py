"""Queues of known truth: what several servers do to requests that arrive at random."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random

from abatch.workloads.result import Result

from support.results import make_result

SERVERS = 4
RATE = 20.0
"""Arrivals per second."""


def queue_run(
    load: float, count: int, seed: int, *, slowness: Callable[[float], float] = lambda share: 1.0
) -> list[Result]:
    """`count` requests through a queue of four servers (M/M/4), which starts empty and warms up for 500 more.

    Args:
        load: Share of the capacity that is asked for; above 1 the queue grows without end.
        count: Requests that are measured.
        seed: Of arrivals and service times.
        slowness: Factor on service times, by how much of the run is over (0 to 1).
    """
    random = Random(seed)
    free_s = [0.0] * SERVERS
    mean_s, at_s, found = SERVERS * load / RATE, 0.0, []
    num_warmup = 500 if load < 1 else 0
    for index in range(-num_warmup, count):
        at_s += random.expovariate(RATE)
        begins_s = max(at_s, heapq.heappop(free_s))
        service_s = random.expovariate(1 / mean_s) * slowness(max(index, 0) / count)
        heapq.heappush(free_s, begins_s + service_s)
        if index >= 0:
            ttft_ms = (begins_s + service_s - at_s) * 1e3
            found.append(make_result(ttft_ms, due_s=at_s, session_id=str(index)))
    return found
