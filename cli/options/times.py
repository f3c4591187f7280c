"""Options that are times: one grammar (see `engine/timing/durations.py`), one word for it in the help, one error."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from typer import Option

from ...engine.errors import ConfigurationError
from ...engine.timing.durations import format_duration, parse_duration

TIME = "TIME"
"""What the help calls a value."""
_ENDLESS = "inf"


def time_option(
    flag: str,
    *other_flags: str,
    help: str,
    unit: str = "s",
    least_s: float = 0.0,
    may_be_endless: bool = False,
    panel: str | None = None,
    hidden: bool = False,
) -> Any:
    """An option whose value is a time, in seconds; of a number without a unit, too.

    Args:
        flag: The one that errors name.
        other_flags: That do the same.
        help: Names the default, which would be shown without its unit.
        unit: `ms` where numbers have always been milliseconds. They are handed on as such.
        least_s: The shortest time that makes sense.
        may_be_endless: `inf` is a value, too.
        panel: The option's heading in the help.
        hidden: The help leaves it out.
    """
    return Option(
        flag,
        *other_flags,
        help=help,
        metavar=TIME,
        parser=_parser(flag, unit, least_s, may_be_endless),
        show_default=False,
        rich_help_panel=panel,
        hidden=hidden,
    )


def _parser(flag: str, unit: str, least_s: float, may_be_endless: bool) -> Callable[[Any], float]:
    least = parse_duration(format_duration(least_s), unit)

    def parse(value: Any) -> float:
        """A word of the command line, or a number: a default, or one of a file of settings."""
        text = str(value)
        if may_be_endless and text.strip().lower() == _ENDLESS:
            return math.inf
        try:
            found = parse_duration(text, unit)
        except ValueError as error:
            raise ConfigurationError(f"{flag} {error}") from None
        if found < least:
            raise ConfigurationError(f"{flag} must be at least {format_duration(least_s)}, not {text!r}")
        return found

    return parse
