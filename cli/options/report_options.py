"""What a run's summary is to say, as `abatch bench` is asked for it."""

from __future__ import annotations

from dataclasses import dataclass

from ...engine.errors import ConfigurationError
from ...reports.recording.goodput import parse_objectives
from ...reports.summary.summary import DEFAULT_PERCENTILES

_MOST_PERCENTILES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """What to show, and of which part of the run.

    Attributes:
        percentiles: Columns of the table.
        goodput: Objectives as text (see `parse_objectives`).
        steady_state: Only the part of the run counts in which the number of requests in flight was steady.
    """

    percentiles: tuple[float, ...] = DEFAULT_PERCENTILES
    goodput: str | None = None
    steady_state: bool = False

    def __post_init__(self) -> None:
        if self.goodput is not None:
            parse_objectives(self.goodput)


def parse_percentiles(text: str) -> tuple[float, ...]:
    """Parse `50,95,99.9`.

    Raises:
        ConfigurationError: it is no such list.
    """
    try:
        percentiles = tuple(sorted({float(part.strip().removeprefix("p")) for part in text.split(",")}))
    except ValueError:
        percentiles = ()
    if not percentiles or len(percentiles) > _MOST_PERCENTILES or not all(0 < value < 100 for value in percentiles):
        raise ConfigurationError(
            f"--percentiles must be up to {_MOST_PERCENTILES} numbers between 0 and 100, as 50,95,99.9, not {text!r}"
        )
    return percentiles
