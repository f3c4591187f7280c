"""Seeded distributions of lengths and pauses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol


class Distribution(Protocol):
    """Something to draw numbers from."""

    def draw(self, random: Random) -> float:
        """One number. All randomness comes from `random`."""


@dataclass(frozen=True, slots=True)
class Constant:
    """Always the same."""

    value: float

    def draw(self, random: Random) -> float:
        return self.value


@dataclass(frozen=True, slots=True)
class LogNormal:
    """Lognormal, by its median and the standard deviation of its logarithm, plus `shift`.

    Values above `cap` become `cap`.
    """

    median: float
    sigma: float
    cap: float = math.inf
    shift: float = 0.0

    def draw(self, random: Random) -> float:
        return min(self.shift + random.lognormvariate(math.log(self.median), self.sigma), self.cap)


@dataclass(frozen=True, slots=True)
class Normal:
    """Normal, clamped to `least` and `most`."""

    mean: float
    deviation: float
    least: float = -math.inf
    most: float = math.inf

    def draw(self, random: Random) -> float:
        return min(max(random.normalvariate(self.mean, self.deviation), self.least), self.most)


@dataclass(frozen=True, slots=True)
class Uniform:
    """A whole number from `least` to `most`, each equally likely."""

    least: int
    most: int

    def draw(self, random: Random) -> float:
        return random.randint(self.least, self.most)


@dataclass(frozen=True, slots=True)
class Geometric:
    """1, 2, 3, ... with the given mean. Values above `cap` become `cap`, which lowers the mean."""

    mean: float
    cap: float = math.inf

    def draw(self, random: Random) -> float:
        if self.mean <= 1:
            return 1
        # Inversion: 1 - random() is in (0, 1], so the logarithm exists.
        return min(1 + math.floor(math.log(1 - random.random()) / math.log(1 - 1 / self.mean)), self.cap)


@dataclass(frozen=True, slots=True)
class Mixture:
    """One of several distributions, chosen by weight."""

    parts: Sequence[tuple[float, Distribution]]
    cap: float = math.inf

    def draw(self, random: Random) -> float:
        (chosen,) = random.choices([part for _, part in self.parts], [weight for weight, _ in self.parts])
        return min(chosen.draw(random), self.cap)


def draw_count(distribution: Distribution, random: Random, *, least: int = 1) -> int:
    """A whole number of tokens or turns, at least `least`."""
    return max(least, round(distribution.draw(random)))
