"""What the tail of a metric comes to: a state, in the same words everywhere."""

from __future__ import annotations

import math
from enum import StrEnum

from ..statistics.interval import Interval
from ..statistics.percentile_estimate import fewest_samples
from .finding import Tone

FLAG_RATIO = 3.0
"""A p99 of more than this many medians is flagged."""
_LEAST = 10
_LEAST_BEYOND = 3
"""A percentile with fewer samples beyond it is one of the last few values, by chance."""


def min_samples(share: float) -> int:
    """Fewer samples than this cannot carry the percentile of this share (0.99 of p99)."""
    return max(_LEAST, math.ceil(_LEAST_BEYOND / (1 - share) - 1e-6))


def samples_to_judge(share: float, *, is_exact: bool) -> int:
    """With fewer samples a percentile is `too few` for certain: what a run must have at least.

    `is_exact`: nothing is random, so that a value needs no interval to be judged by. Otherwise so many are enough if
    each is independent; where requests wait for each other it takes more.
    """
    return min_samples(share) if is_exact else max(min_samples(share), fewest_samples(share))


MIN_SAMPLES = min_samples(0.99)
"""With fewer samples than this, p99 says nothing."""


class State(StrEnum):
    """The state of a metric's tail ratio, p99 / p50. `STATE_MEANINGS` says what each one means."""

    OK = "ok"
    FLAGGED = "FLAGGED"
    UNEVEN_WORK = "uneven work"
    BORDERLINE = "borderline"
    TOO_FEW = "too few"
    NOT_STREAMED = "not streamed"
    NOT_JUDGED = "not judged"

    @classmethod
    def _missing_(cls, value: object) -> State | None:
        """Older runs say `too few samples`."""
        return cls.TOO_FEW if value == "too few samples" else None

    @property
    def tone(self) -> Tone:
        """How a reader should take it."""
        return _TONES[self]


_TONES = {
    State.OK: Tone.GOOD,
    State.FLAGGED: Tone.BAD,
    State.UNEVEN_WORK: Tone.CAUTION,
    State.BORDERLINE: Tone.CAUTION,
    State.TOO_FEW: Tone.CAUTION,
    State.NOT_STREAMED: Tone.CAUTION,
    State.NOT_JUDGED: Tone.PLAIN,
}


STATE_MEANINGS = {
    State.OK: f"p99 is at most {FLAG_RATIO:g} medians",
    State.FLAGGED: f"p99, or a lower percentile already, is more than {FLAG_RATIO:g} medians",
    State.UNEVEN_WORK: f"p99 is more than {FLAG_RATIO:g} medians because requests differ in size",
    State.BORDERLINE: f"the 95% interval of p99/p50 spans {FLAG_RATIO:g}, or there is none: another run may differ",
    State.TOO_FEW: "too few samples: how high p99 may truly be is not known",
    State.NOT_STREAMED: "too many answers came all at once: only their ends have a time",
    State.NOT_JUDGED: "an average, or a part of another metric: it has no interval",
}
"""Of each state, in a few words."""


def tail_state(count: int, ratio: float, interval: Interval | None, *, is_exact: bool = False) -> State:
    """The state of a metric with this many samples, this tail ratio, and its interval where it has one.

    `is_exact`: nothing about the ratio is random, so that it is judged as it is.
    """
    if count < MIN_SAMPLES:
        return State.TOO_FEW
    if is_exact:
        return State.FLAGGED if ratio > FLAG_RATIO else State.OK
    if interval is None:
        return State.BORDERLINE if ratio > FLAG_RATIO else State.TOO_FEW
    if interval.low > FLAG_RATIO:
        return State.FLAGGED
    if interval.high <= FLAG_RATIO:
        return State.OK
    return State.TOO_FEW if interval.is_open and ratio <= FLAG_RATIO else State.BORDERLINE
