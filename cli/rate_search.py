"""The highest rate at which something holds, found with few measurements that may be noisy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

FIRST_RATE = 25.0
PRECISION = 1.1
"""The search is over when the lowest rate that failed is within this factor of the highest that did not."""

_MAY_FAIL = 2
"""Of the first rates."""


class Limit(StrEnum):
    """What ended a search."""

    FAILED = "a higher rate failed"
    MAX_RATE = "--max-rate"
    TIME = "the time limit"


@dataclass(frozen=True, slots=True)
class Found:
    """The highest rate that held, None if none did; `failed_rate` is the lowest above it that did not."""

    rate: float | None
    failed_rate: float | None
    limit: Limit


def highest_rate(holds: Callable[[float], bool], *, max_rate: float, has_time: Callable[[], bool]) -> Found:
    """Double the rate until it fails, then halve the ratio between what held and what failed.

    A rate has failed when it did so twice in a row: on a busy machine anything fails once. The first few rates may fail
    altogether, as long as a higher one holds: a processor that idles between two requests wakes late. `has_time` is
    asked before each measurement.
    """
    held: float | None = None
    failed: float | None = None
    rate, num_rates = min(FIRST_RATE, max_rate), 0
    while has_time():
        num_rates += 1
        has_held = holds(rate)
        if not has_held:
            if not has_time():
                break  # failed once is not failed
            has_held = holds(rate)
        if has_held:
            held = rate
        elif held is not None or num_rates > _MAY_FAIL or rate >= max_rate:
            failed = rate
        if failed is None:
            if rate >= max_rate:
                return Found(held, None, Limit.MAX_RATE)
            rate = min(2 * rate, max_rate)
        elif held is None or failed <= held * PRECISION:
            return Found(held, failed, Limit.FAILED)
        else:
            rate = round(math.sqrt(held * failed), 1 if held < 100 else 0)
    return Found(held, failed, Limit.TIME)
