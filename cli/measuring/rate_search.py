"""The highest rate at which something holds, found with few measurements that may be noisy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Limit(StrEnum):
    """What ended a search."""

    FAILED = "a higher rate failed"
    MAX_RATE = "--max-rate"
    TIME = "the time limit"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Found:
    """The highest rate that held, None if none did. `failed_rate` is the lowest above it that did not hold."""

    rate: float | None
    failed_rate: float | None
    limit: Limit


def highest_rate(
    holds: Callable[[float], bool],
    *,
    first_rate: float,
    max_rate: float,
    precision: float,
    may_fail: int = 0,
    tries: int = 2,
    has_time: Callable[[], bool] = lambda: True,
) -> Found:
    """Double the rate until it fails, then halve the ratio between what held and what failed.

    A rate has failed when every try did: on a busy machine anything fails once.

    Args:
        holds: Measures at a rate.
        first_rate: To begin with.
        max_rate: No higher one is tried.
        precision: The search is over when the lowest rate that failed is within this factor of the highest that held.
        may_fail: How many of the first rates may fail, as long as a higher one holds.
        tries: Of each rate, as long as it fails; one where nothing is left to chance.
        has_time: Asked before each measurement.
    """
    held: float | None = None
    failed: float | None = None
    rate, num_rates = min(first_rate, max_rate), 0
    while has_time():
        num_rates += 1
        has_held = holds(rate)
        for _ in range(tries - 1):
            if has_held:
                break
            if not has_time():
                return Found(held, failed, Limit.TIME)  # failed once is not failed
            has_held = holds(rate)
        if has_held:
            held = rate
        elif held is not None or num_rates > may_fail or rate >= max_rate:
            failed = rate
        if failed is None:
            if rate >= max_rate:
                return Found(held, None, Limit.MAX_RATE)
            rate = min(2 * rate, max_rate)
        elif held is None or failed <= held * precision:
            return Found(held, failed, Limit.FAILED)
        else:
            rate = rounded(math.sqrt(held * failed))
    return Found(held, failed, Limit.TIME)


def rounded(rate: float) -> float:
    """A rate to three significant digits."""
    return float(f"{rate:.3g}")
