"""Numbers as they are shown."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from .statistics.interval import CONFIDENCE, Interval

CI = f"{CONFIDENCE:.0%} CI"
MOST_PRACTICAL = 1_000_000
"""More requests than a day has at ten per second are not what a reader can do."""


def significant(value: float) -> str:
    """A number with about four significant digits."""
    if value >= 1000:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 100 else f"{value:.2f}" if value >= 10 else f"{value:.3f}"


def milliseconds(value: float) -> str:
    """A time in milliseconds, without its unit."""
    return significant(value)


def duration(value_ms: float) -> str:
    """A time in the unit that a person would choose: `2.07 s`, `51.1 ms`, `14 min`."""
    if value_ms >= 600_000:
        return f"{value_ms / 60_000:.0f} min"
    if value_ms >= 100_000:
        return f"{value_ms / 1e3:.0f} s"
    if value_ms >= 1000:
        return f"{value_ms / 1e3:.3g} s"
    return f"{value_ms:.3g} ms"


def interval_in_words(interval: Interval, shown: Callable[[float], str] = significant, unit: str = "") -> str:
    """`95% CI 2.7 to 37.5 ms`, and `95% CI at least 2.7 ms` where there is no upper end.

    Args:
        interval: The interval.
        shown: How one end is written.
        unit: Stands once, behind the last end.
    """
    if interval.is_open:
        return f"{CI} at least {shown(interval.low)}{unit}"
    return f"{CI} {shown(interval.low)} to {shown(interval.high)}{unit}"


def points(interval: Interval) -> str:
    """A difference of two shares: `95% CI of the difference -0.10 to +0.25 points`."""
    return f"{CI} of the difference {interval.low * 100:+.2f} to {interval.high * 100:+.2f} points"


def factor(value: float) -> str:
    """`12.2x`, `2,394x`."""
    return f"{value:.1f}x" if value < 100 else f"{value:,.0f}x"


def times(value: float) -> str:
    """A slowdown, without its x: `1.02`, `62.2`, `280`."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def samples_needed(number: int) -> str:
    """`about 3,900 samples`, and in words where no one could measure so many."""
    if number > MOST_PRACTICAL:
        return "no practical number of samples"
    return f"about {rounded_up(number):,} samples"


def rounded_up(value: float) -> int:
    """To two significant digits, where it has more: 211 to 220, 15.2 to 16."""
    unit: int = 10 ** max(0, len(str(math.ceil(value))) - 2)
    return math.ceil(value / unit) * unit


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`; at least one."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def counted(number: int, noun: str) -> str:
    """`1 stream`, `1,204 streams`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
