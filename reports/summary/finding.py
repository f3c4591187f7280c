"""What a reader should know of a run or a comparison, as data: made once, laid out by every rendering."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from .causes import Cause


class Tone(StrEnum):
    """How a reader should take it. Renderings choose the colour."""

    BAD = "bad"
    CAUTION = "caution"
    GOOD = "good"
    WHY = "why"
    """An explanation."""
    NOTICE = "notice"
    """To be kept in mind throughout."""
    PLAIN = "plain"


class Label(StrEnum):
    """What kind of finding it is: its first word in every rendering."""

    INTERRUPTED = "INTERRUPTED"
    SIMULATED = "SIMULATED"
    FAILED = "FAILED"
    """A target that could not be measured."""
    NO_VERDICT = "NO VERDICT"
    ERRORS = "ERRORS"
    """Failed requests."""
    NOT_TRUSTED = "NOT TRUSTED"
    NOT_STREAMED = "NOT STREAMED"
    """Too many answers came all at once."""
    OVERLOADED = "OVERLOADED"
    """The server did not keep up: latencies and the backlog grew all through the run."""
    NOT_STEADY = "NOT STEADY"
    """Latencies grew all through the run, without a backlog."""
    FLAGGED = "FLAGGED"
    UNEVEN_WORK = "UNEVEN WORK"
    """A tail that the sizes of the requests explain."""
    BORDERLINE = "BORDERLINE"
    EVENLY_SLOW = "EVENLY SLOW"
    """Every request waits for much longer than its work takes."""
    OK = "OK"
    NOT_ENOUGH_DATA = "NOT ENOUGH DATA"
    CLASS = "CLASS"
    """Another class than the verdict's."""
    CAUSE = "CAUSE"
    STALL = "STALL"
    ADVICE = "ADVICE"
    VERDICT = "VERDICT"
    """Of a comparison, with the numbers that differ most."""
    RESULT = "RESULT"
    """Of a comparison, in the one sentence that people quote."""
    KEY = "key"
    """How to read a table's marks."""
    NOTE = "note"


class Finding(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One finding.

    Attributes:
        words: A sentence without the label. Names in it may come from outside; renderings escape them.
        metric: The metric that it is about, if it is about one; `traffic_class` and `cause` likewise.
        numbers: The numbers in the words by name, with units in the names.
    """

    label: Label
    tone: Tone
    words: str
    metric: str | None = None
    traffic_class: str | None = None
    cause: Cause | None = None
    numbers: dict[str, float] = {}

    @property
    def first_sentence(self) -> str:
        """What was found, without the advice that follows it."""
        return self.words.split(". ")[0]


def not_trusted(
    words: str, *, metric: str | None = None, traffic_class: str | None = None, **numbers: float
) -> Finding:
    """Why numbers should not be believed: all of a run, or those of one metric of a class."""
    return Finding(
        label=Label.NOT_TRUSTED,
        tone=Tone.CAUTION,
        words=words,
        metric=metric,
        traffic_class=traffic_class,
        numbers=numbers,
    )


SIMULATED = Finding(label=Label.SIMULATED, tone=Tone.NOTICE, words="no real device ran; these are a model's numbers")
"""Stands first wherever numbers of a simulated device are shown."""
