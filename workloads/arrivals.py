"""When open-loop sessions start: endless sequences of times, in seconds from the beginning."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from random import Random

from ..engine.errors import ConfigurationError

BURSTY_DISPERSION = 13.0


def constant(rate: float, random: Random) -> Iterator[float]:
    """Evenly spaced. No randomness."""
    return (index / rate for index in itertools.count())


def poisson(rate: float, random: Random) -> Iterator[float]:
    """Independent arrivals: exponential gaps."""
    return itertools.accumulate(random.expovariate(rate) for _ in itertools.count())


def bursty(rate: float, random: Random) -> Iterator[float]:
    """Bursts: counts in bins of a second are negative-binomial, with an index of dispersion (variance over mean) of 13.

    That is the dispersion of the Azure 2023 code trace. Each bin is a Poisson process whose rate is drawn from a gamma
    distribution. With a scale of 12 that adds 12 means to the Poisson variance of one mean, whatever the mean is.
    """
    scale = BURSTY_DISPERSION - 1
    for second in itertools.count():
        rate_now = random.gammavariate(rate / scale, scale)
        if rate_now > 0:  # a quiet second's rate can be so small that it rounds to 0
            gaps = itertools.accumulate(random.expovariate(rate_now) for _ in itertools.count())
            yield from (second + time for time in itertools.takewhile(lambda time: time < 1, gaps))


ARRIVALS: dict[str, Callable[[float, Random], Iterator[float]]] = {
    "constant": constant,
    "poisson": poisson,
    "bursty": bursty,
}


def check_arrival(arrival: str) -> None:
    """Raise `ConfigurationError` unless there is such a process."""
    if arrival not in ARRIVALS:
        raise ConfigurationError(f"--arrival must be one of {', '.join(ARRIVALS)}, not {arrival!r}")


def arrival_times(arrival: str, rate: float, random: Random) -> Iterator[float]:
    """Start times of the named process at `rate` per second."""
    return ARRIVALS[arrival](rate, random)
