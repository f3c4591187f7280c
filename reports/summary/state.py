"""What the tail of a metric comes to: a state, in the same words everywhere."""

from __future__ import annotations

from enum import StrEnum

from ..statistics.interval import Interval
from .finding import Tone

FLAG_RATIO = 3.0
"""A p99 of more than this many medians is flagged."""
MIN_SAMPLES = 300
"""With fewer samples than this, p99 rests on fewer than three of them and says nothing."""


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
