"""Two targets that are compared, and how closely they are looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..run.measurement import Measurement
from ..summary.doubts import doubt_of_comparison
from .change import Rounds
from .difference import Compared, Floor


@dataclass(frozen=True, slots=True)
class Look:
    """At what confidence each interval holds by itself, what does not matter, and what is worth detecting.

    `statistics`: what is compared of each latency.
    """

    confidence: float
    floor: Floor
    effect: float
    statistics: Sequence[Compared]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two targets. `is_paired`: both got the same traffic. `is_trusted`: nothing speaks against comparing them."""

    first: Measurement
    other: Measurement
    is_paired: bool
    is_trusted: bool

    @property
    def both(self) -> tuple[Measurement, Measurement]:
        """The first, and the other."""
        return self.first, self.other

    @property
    def traffic_class(self) -> str:
        """That the verdict is about."""
        return self.first.summary.verdict_class

    @property
    def num_requests(self) -> int:
        """Of the one that has fewer."""
        return min(one.summary.requests for one in self.both)

    def is_fit(self, metric: str) -> bool:
        """Whether a metric that both have can be compared."""
        return self.is_trusted and not any(
            doubt_of_comparison(one.summary, metric, self.traffic_class) for one in self.both
        )

    def blocks(self, metric: str) -> tuple[Rounds, Rounds]:
        """The values of a metric by time, of each."""
        return (
            self.first.time_blocks(metric, self.traffic_class),
            self.other.time_blocks(metric, self.traffic_class),
        )
