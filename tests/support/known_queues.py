"""Servers whose true percentiles or load are known: what intervals and steadiness are checked against."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count as count_up
from itertools import groupby, islice
from random import Random
from statistics import NormalDist

from abatch.reports.statistics.time_blocks import TimeBlocks
from abatch.workloads.result import Result

from support.results import make_result

RATE = 20.0
"""Requests per second, at random moments."""
_SERVERS = 4
_PREFILL = 0.2
"""Of its service, what a request takes to its first token once it has a server."""
_MEDIAN_S = 0.05
_AT_ONCE_S = 0.25
"""Requests of one block of the shortest length are counted together."""
_LONG_RUN = 1_000_000

Draw = Callable[[Random, int], list[tuple[float, float]]]
"""So many requests: when each arrives and how long it takes, in seconds."""
Survival = Callable[[float], float]
"""The share of requests that take longer than so many seconds."""


@dataclass(frozen=True)
class KnownQueue:
    """A server under constant load.

    Attributes:
        survival: In closed form; None if the truth is what a long run says.
    """

    name: str
    draw: Draw
    survival: Survival | None = None

    def blocks(self, seed: int, count: int) -> list[Counter[int]]:
        """One run, as a recorder keeps it."""
        return self.time_blocks(seed, count).blocks()

    def time_blocks(self, seed: int | str, count: int) -> TimeBlocks:
        """One run, with when it was."""
        return _counted(self.draw(Random(f"{self.name}/{seed}"), count))

    def runs(self, count: int, num: int) -> Iterator[list[Counter[int]]]:
        """So many runs of so many requests, one right after the other: the server warms up once for all of them."""
        requests = self.draw(Random(f"{self.name}/runs of {count}"), count * num)
        for start in range(0, len(requests), count):
            start_s = requests[start][0]
            run = [(at_s - start_s, latency_s) for at_s, latency_s in requests[start : start + count]]
            yield _counted(run).blocks()

    def quantile_s(self, share: float) -> float:
        """The true percentile."""
        if self.survival is None:
            return _long_run(self.name, self.draw)[int(share * _LONG_RUN)]
        return _quantile_s(self.survival, share)


def _counted(requests: Sequence[tuple[float, float]]) -> TimeBlocks:
    blocks = TimeBlocks()
    for number, together in groupby(requests, lambda request: int(request[0] / _AT_ONCE_S)):
        blocks.add(number * _AT_ONCE_S, [round(latency_s * 1e6) for _, latency_s in together])
    return blocks


@cache
def _quantile_s(survival: Survival, share: float) -> float:
    low, high = 0.0, 1e3
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if survival(middle) > 1 - share else (low, middle)
    return high


@cache
def _long_run(name: str, draw: Draw) -> list[float]:
    return sorted(latency_s for _, latency_s in draw(Random(f"long/{name}"), _LONG_RUN))


def _arrivals(random: Random, count: int) -> list[float]:
    at_s, found = 0.0, []
    for _ in range(count):
        at_s += random.expovariate(RATE)
        found.append(at_s)
    return found


def _log_normal_survival(sigma: float) -> Survival:
    return lambda x: 1 - NormalDist().cdf(math.log(x / _MEDIAN_S) / sigma) if x > 0 else 1.0


def independent(sigma: float = 0.6) -> KnownQueue:
    """Log-normal latencies that know nothing of each other."""

    def draw(random: Random, count: int) -> list[tuple[float, float]]:
        return [(at_s, _MEDIAN_S * random.lognormvariate(0, sigma)) for at_s in _arrivals(random, count)]

    return KnownQueue("independent", draw, _log_normal_survival(sigma))


def remembering(memory_s: float, sigma: float = 0.6) -> KnownQueue:
    """Log-normal latencies, half of whose variance drifts with a memory of so many seconds."""

    def draw(random: Random, count: int) -> list[tuple[float, float]]:
        drift, before_s, found = random.gauss(0, 1), 0.0, []
        for at_s in _arrivals(random, count):
            kept = math.exp((before_s - at_s) / memory_s)
            drift = kept * drift + math.sqrt(1 - kept * kept) * random.gauss(0, 1)
            before_s = at_s
            found.append((at_s, _MEDIAN_S * math.exp(sigma * (drift + random.gauss(0, 1)) / math.sqrt(2))))
        return found

    return KnownQueue(f"memory of {memory_s:g} s", draw, _log_normal_survival(sigma))


def stalling(every_s: float, length_s: float, sigma: float = 0.2) -> KnownQueue:
    """Log-normal latencies, and the rest of a stall for requests that arrive within it."""

    def draw(random: Random, count: int) -> list[tuple[float, float]]:
        phase_s = random.uniform(0, every_s)
        return [
            (at_s, _MEDIAN_S * random.lognormvariate(0, sigma) + max(0.0, length_s - (at_s + phase_s) % every_s))
            for at_s in _arrivals(random, count)
        ]

    of_base, parts, share = _log_normal_survival(sigma), 200, length_s / every_s

    def survival(x: float) -> float:
        hit = sum(of_base(x - length_s * (part + 0.5) / parts) for part in range(parts)) / parts
        return share * hit + (1 - share) * of_base(x)

    return KnownQueue(f"stall of {length_s:g} s every {every_s:g} s", draw, survival)


def stalled(queue: KnownQueue, *, every_s: float, num: int, length_s: float = 2.0) -> KnownQueue:
    """A queue, and the rest of a stall for requests that arrive in one of so many."""

    def draw(random: Random, count: int) -> list[tuple[float, float]]:
        phase_s, found = random.uniform(0, every_s - length_s), []
        for at_s, latency_s in queue.draw(random, count):
            number, since_s = divmod(at_s - phase_s, every_s)
            rest_s = length_s - since_s if 0 <= number < num else 0.0
            found.append((at_s, latency_s + max(0.0, rest_s)))
        return found

    return KnownQueue(f"{queue.name}, {num} stalls", draw)


def slow_at_times(every_s: float, length_s: float, factor: float = 5.0, sigma: float = 0.3) -> KnownQueue:
    """Log-normal latencies, so many times longer for a while."""

    def draw(random: Random, count: int) -> list[tuple[float, float]]:
        phase_s = random.uniform(0, every_s)
        return [
            (
                at_s,
                _MEDIAN_S
                * random.lognormvariate(0, sigma)
                * (factor if (at_s + phase_s) % every_s < length_s else 1.0),
            )
            for at_s in _arrivals(random, count)
        ]

    of_base, share = _log_normal_survival(sigma), length_s / every_s
    return KnownQueue(
        f"slow for {length_s:g} s of {every_s:g} s",
        draw,
        lambda x: share * of_base(x / factor) + (1 - share) * of_base(x),
    )


def of_ratio(queue: KnownQueue, ratio: float) -> KnownQueue:
    """A queue whose p99 is so many medians: its latencies to a power, so that what goes together still does."""
    assert queue.survival is not None
    of_queue = queue.survival
    power = math.log(ratio) / math.log(queue.quantile_s(0.99) / queue.quantile_s(0.5))

    def draw(random: Random, count: int) -> list[tuple[float, float]]:
        return [(at_s, latency_s**power) for at_s, latency_s in queue.draw(random, count)]

    return KnownQueue(f"{queue.name}, ratio {ratio:g}", draw, lambda x: of_queue(x ** (1 / power)))


def switching(slow: float, mean_s: float, factor: float = 5.0, sigma: float = 0.1) -> KnownQueue:
    """Log-normal latencies, so many times longer for this share of the time, in spells of so many seconds on average.

    With a share of a little more than a half the true median is a slow one, and that of many runs is not.
    """

    def draw(random: Random, count: int) -> list[tuple[float, float]]:
        is_slow, until_s, found = False, 0.0, []
        for at_s in _arrivals(random, count):
            while at_s >= until_s:
                is_slow = not is_slow
                until_s += random.expovariate(1 / (2 * mean_s * (slow if is_slow else 1 - slow)))
            found.append((at_s, _MEDIAN_S * random.lognormvariate(0, sigma) * (factor if is_slow else 1.0)))
        return found

    of_base = _log_normal_survival(sigma)
    return KnownQueue(
        f"slow for {slow:.0%} of the time",
        draw,
        lambda x: slow * of_base(x / factor) + (1 - slow) * of_base(x),
    )


def queueing(load: float, sigma: float | None = None) -> KnownQueue:
    """Times to first token of four servers with one queue, at this load (0 to 1), in their steady state.

    `sigma`: of log-normal service; None is exponential, of which the distribution of waits is known (Erlang's C).
    """
    mean_s = load * _SERVERS / RATE

    def draw(random: Random, count: int) -> list[tuple[float, float]]:
        def service_s(_: int) -> float:
            if sigma is None:
                return random.expovariate(1 / mean_s)
            return mean_s * random.lognormvariate(-sigma * sigma / 2, sigma)

        requests = islice(served(random, service_s), int(4000 / (1 - load)), None)
        found = [(at_s, waited_s + _PREFILL * taken_s) for at_s, waited_s, taken_s in islice(requests, count)]
        return [(at_s - found[0][0], latency_s) for at_s, latency_s in found]

    name = f"M/M/4, load {load:g}" if sigma is None else f"M/G/4, load {load:g}"
    return KnownQueue(name, draw, _erlang_survival(load, mean_s) if sigma is None else None)


def served(random: Random, service_s: Callable[[int], float]) -> Iterator[tuple[float, float, float]]:
    """(arrival, wait, service) in seconds of one request after another at four servers with one queue; endless.

    `service_s`: how long the request with this number takes, once it has a server.
    """
    free_s, at_s = [0.0] * _SERVERS, 0.0
    for number in count_up():
        at_s += random.expovariate(RATE)
        taken_s = service_s(number)
        start_s = max(free_s[0], at_s)
        heapq.heapreplace(free_s, start_s + taken_s)
        yield at_s, start_s - at_s, taken_s


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
    mean_s, num_warmup = _SERVERS * load / RATE, 500 if load < 1 else 0

    def service_s(number: int) -> float:
        return random.expovariate(1 / mean_s) * slowness(max(number - num_warmup, 0) / count)

    requests = islice(served(random, service_s), num_warmup, num_warmup + count)
    return [
        make_result((waited_s + taken_s) * 1e3, due_s=at_s, session_id=str(index))
        for index, (at_s, waited_s, taken_s) in enumerate(requests)
    ]


def _erlang_survival(load: float, mean_s: float) -> Survival:
    """Of an exponential wait that a share of requests has, plus an exponential time to the first token."""
    offered = load * _SERVERS
    all_busy = offered**_SERVERS / math.factorial(_SERVERS) / (1 - load)
    waiting = all_busy / (sum(offered**busy / math.factorial(busy) for busy in range(_SERVERS)) + all_busy)
    ends, starts = _SERVERS / mean_s - RATE, 1 / (_PREFILL * mean_s)

    def survival(x: float) -> float:
        both = (ends * math.exp(-starts * x) - starts * math.exp(-ends * x)) / (ends - starts)
        return (1 - waiting) * math.exp(-starts * x) + waiting * both

    return survival
