"""When open-loop sessions start: endless sequences of times, in seconds from the beginning."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from random import Random

from ..engine.errors import ConfigurationError


def constant(rate: float, random: Random) -> Iterator[float]:
    """Evenly spaced. No randomness."""
    return (index / rate for index in itertools.count())


def poisson(rate: float, random: Random) -> Iterator[float]:
    """Independent arrivals: exponential gaps."""
    return itertools.accumulate(random.expovariate(rate) for _ in itertools.count())


ARRIVALS: dict[str, Callable[[float, Random], Iterator[float]]] = {"constant": constant, "poisson": poisson}


def check_arrival(arrival: str) -> None:
    """Raise `ConfigurationError` unless there is such a process."""
    if arrival not in ARRIVALS:
        raise ConfigurationError(f"--arrival must be {' or '.join(ARRIVALS)}, not {arrival!r}")


def arrival_times(arrival: str, rate: float, random: Random) -> Iterator[float]:
    """Start times of the named process at `rate` per second."""
    return ARRIVALS[arrival](rate, random)
