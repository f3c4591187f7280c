"""A parsed rule that a run must meet."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from ..recording.recorder import ALL
from ..summary.statistic import P50, Statistic
from ..summary.summary import Summary, independent_of_errors, independent_of_goodput, share_failed, share_good

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "==": operator.eq,
}
BASELINE = "baseline"


class Kind(StrEnum):
    """What a value of a whole run is, which says what bounds it may have."""

    SHARE = "share"
    """Of requests: bounds are in percent, or between 0 and 1. Against a baseline, percents are points."""
    RATE = "rate"
    """Per second."""
    COUNT = "count"


@dataclass(frozen=True, slots=True)
class RunValue:
    """A value of a whole run that a rule may be about.

    Attributes:
        independent: Of a share, how many independent requests it is known from.
    """

    kind: Kind
    read: Callable[[Summary], float]
    independent: Callable[[Summary], float] = lambda summary: summary.requests


RUN_VALUES: dict[str, RunValue] = {
    "errors": RunValue(Kind.SHARE, share_failed, independent_of_errors),
    "goodput": RunValue(Kind.SHARE, share_good, independent_of_goodput),
    "achieved_rate": RunValue(Kind.RATE, lambda summary: summary.achieved_rate),
    "offered_rate": RunValue(Kind.RATE, lambda summary: summary.offered_rate),
    "output_tokens_per_s": RunValue(Kind.RATE, lambda summary: summary.output_tokens_per_s),
    "late_arrivals": RunValue(Kind.COUNT, lambda summary: summary.late_arrivals),
    "dropped_arrivals": RunValue(Kind.COUNT, lambda summary: summary.dropped_arrivals),
    "censored": RunValue(Kind.COUNT, lambda summary: summary.censored),
}
AGAINST_BASELINE = ("errors", "goodput", "achieved_rate", "output_tokens_per_s")
"""Those of which there is an interval of the difference."""


@dataclass(frozen=True, slots=True)
class Bound:
    """`factor * of + plus`.

    Attributes:
        of: What it is relative to: a value of the run, or the same value of the baseline; None if it is absolute.
        plus: Milliseconds of a latency; shares between 0 and 1.
    """

    plus: float = 0.0
    of: str | None = None
    factor: float = 1.0

    def value(self, reference: float = 0.0) -> float:
        """The bound, given what it is relative to."""
        return self.plus if self.of is None else self.factor * reference + self.plus


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """`chat.ttft.p99/p50 <= 3`, `ttft.slowdown.p99 <= 5`, `errors < 0.1%`.

    Attributes:
        is_slowdown: It is about the metric over that of the idle server.
        run_value: The value of the run that it is about, if it is not about a latency.
    """

    text: str
    comparison: str
    bound: Bound
    run_value: str | None = None
    traffic_class: str = ALL
    metric: str = ""
    is_slowdown: bool = False
    statistic: Statistic = P50
    divisor: Statistic | None = None

    @property
    def needs_baseline(self) -> bool:
        """Whether it compares with another run."""
        return self.bound.of == BASELINE

    def holds(self, value: float, bound: float) -> bool:
        """Whether a value is on the right side."""
        return COMPARISONS[self.comparison](value, bound)

    @property
    def holds_if_larger(self) -> bool:
        """Whether it holds of a value that is arbitrarily larger."""
        return self.comparison in (">", ">=")
