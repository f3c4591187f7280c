"""Servers that fail a known share of their requests: one by one, or all of them while they are down."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

RATE = 20.0
"""Requests per second, at random moments."""


@dataclass(frozen=True)
class FailingServer:
    """Down at random moments, and with failures of its own besides.

    Attributes:
        every_s: From one outage to the next, on average; infinite is never.
        length_s: Of an outage; those that overlap are one.
        scattered: Share of requests that fail for themselves.
    """

    every_s: float = math.inf
    length_s: float = 0.0
    scattered: float = 0.0

    @property
    def name(self) -> str:
        """For tables."""
        outages = "" if math.isinf(self.every_s) else f"down for {self.length_s:g} s every {self.every_s:g} s"
        own = f"{self.scattered:.1%} for themselves" if self.scattered else ""
        return ", ".join(filter(None, (outages, own)))

    @property
    def share(self) -> float:
        """Of all requests, those that fail."""
        return 1 - (1 - self.scattered) * math.exp(-self.length_s / self.every_s)

    def draw(self, seed: int, count: int) -> Iterator[tuple[float, bool]]:
        """When each request is due, and whether it fails."""
        random = Random(f"{self.name}/{seed}")
        at_s, down_until_s = 0.0, -math.inf
        next_s = -20 * self.length_s + self._pause_s(random)
        for _ in range(count):
            at_s += random.expovariate(RATE)
            while next_s <= at_s:
                down_until_s = next_s + self.length_s
                next_s += self._pause_s(random)
            yield at_s, at_s < down_until_s or random.random() < self.scattered

    def _pause_s(self, random: Random) -> float:
        return math.inf if math.isinf(self.every_s) else random.expovariate(1 / self.every_s)
