"""Durations as people write them: one grammar for options, rules, objectives and simulated times.

duration = number                                     in the unit that the place has, mostly seconds
         | [number "h"] [number "m"] [number "s"] [number "ms"] [number "us"]    one of them at least

`min`, `sec` and `µs` are other words for `m`, `s` and `us`; capitals and spaces between the parts do not matter.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal

_SECONDS = {"h": Decimal(3600), "m": Decimal(60), "s": Decimal(1), "ms": Decimal("1e-3"), "us": Decimal("1e-6")}
"""By unit, the longest first."""
_NAMES = {"h": "h", "m": "m|min", "s": "s|sec", "ms": "ms", "us": "us|\u00b5s|\u03bcs"}
"""How each may be written. There are two micro signs: that of keyboards, and the Greek letter."""
_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)"
_BARE = re.compile(rf"{_NUMBER}(?:e[+-]?\d+)?", re.IGNORECASE)
_WITH_UNITS = re.compile(
    r"\s*".join(rf"(?:({_NUMBER})\s*(?:{_NAMES[unit]})(?![^\W\d]))?" for unit in _SECONDS), re.IGNORECASE
)
_EXAMPLES = {"s": "90, 90s, 2m or 500ms", "ms": "200, 200ms or 1.5s"}


def parse_duration(text: str, unit: str = "s") -> float:
    """How long `90`, `2m`, `1m30s` or `500ms` is, in the unit that a number without one has: `s` or `ms`.

    Raises:
        ValueError: it is no duration. The message begins with `must be`, and an option's name is to stand before it.
    """
    text = text.strip()
    if _BARE.fullmatch(text):
        value = float(text)
    elif (found := match_duration(text)) is not None and found[1] == len(text):
        value = float(found[0] / _SECONDS[unit])
    elif text.startswith("-"):
        raise ValueError(f"must be a time from 0 on, such as {_EXAMPLES[unit]}, not {text!r}")
    else:
        raise ValueError(f"must be a time, such as {_EXAMPLES[unit]}, not {text!r}")
    if not math.isfinite(value):
        raise ValueError(f"must be a time that ends, such as {_EXAMPLES[unit]}, not {text!r}")
    return value


def match_duration(text: str, place: int = 0) -> tuple[Decimal, int] | None:
    """The seconds of a duration with units that stands at a place in a text, and where it ends; None: there is none."""
    match = _WITH_UNITS.match(text, place)
    if match is None or not any(match.groups()):
        return None
    parts = zip(_SECONDS.values(), match.groups(), strict=True)
    seconds = sum((scale * Decimal(number) for scale, number in parts if number is not None), Decimal(0))
    return seconds, match.end()


def format_duration(seconds: float) -> str:
    """A time from 0 on in the same grammar, exactly: `1m30s`, `2.5s`, `500ms`. It is parsed into the same number."""
    exact = Decimal(repr(float(seconds)))
    if 0 < exact < 1:
        return f"{_plain(exact * 1000)}ms" if exact >= _SECONDS["ms"] else f"{_plain(exact * 1_000_000)}us"
    hours, rest = divmod(exact, 3600)
    minutes, rest = divmod(rest, 60)
    parts = [f"{_plain(hours)}h" if hours else "", f"{_plain(minutes)}m" if minutes else ""]
    return "".join([*parts, f"{_plain(rest)}s" if rest or not exact else ""])


def _plain(number: Decimal) -> str:
    """Without exponent, and without zeros at its end."""
    return f"{number.normalize():f}"
