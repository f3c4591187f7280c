"""Where a true value probably lies."""

from __future__ import annotations

import math

import msgspec

from ...workloads.bounds import Number

CONFIDENCE = 0.95


class Interval(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a true value probably lies, at 95% confidence.

    Attributes:
        high: Infinite where the run does not bound the value from above. JSON has no infinity: there it is left out.
    """

    low: Number
    high: Number = math.inf

    def __post_init__(self) -> None:
        # What is left out of JSON is what *is* the default, not what equals it.
        if self.high == math.inf:
            msgspec.structs.force_setattr(self, "high", math.inf)

    @property
    def is_open(self) -> bool:
        """Whether it has no upper end."""
        return self.high == math.inf
