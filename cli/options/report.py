"""The options that say what a run's report shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from typer import Option

from ...engine.errors import ConfigurationError
from ...reports.recording.goodput import parse_objectives
from ...reports.summary.summary import DEFAULT_PERCENTILES

_MOST_PERCENTILES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """What to show, and of which part of the run."""

    panel: ClassVar[str] = "Report"

    percentiles: Annotated[str, Option(help="Columns of the table.")] = ",".join(
        f"{value:g}" for value in DEFAULT_PERCENTILES
    )
    goodput: Annotated[
        str | None,
        Option(
            help="Count requests that meet all of these objectives (ms, or with a unit): 'ttft:200,e2e:1.5s' (tpot, "
            "max_gap, ttfa)."
        ),
    ] = None
    steady_state: Annotated[bool, Option("--steady-state", help="Report only the steady-state part of the run.")] = (
        False
    )

    def __post_init__(self) -> None:
        parse_percentiles(self.percentiles)
        if self.goodput is not None:
            parse_objectives(self.goodput)


def asked_percentiles(options: ReportOptions) -> tuple[float, ...]:
    """The percentiles that were asked for; none where they are the usual ones."""
    is_usual = options.percentiles == ReportOptions().percentiles
    return () if is_usual else parse_percentiles(options.percentiles)


def parse_percentiles(text: str) -> tuple[float, ...]:
    """Parse `50,95,99.9`.

    Raises:
        ConfigurationError: it is not such a list.
    """
    try:
        percentiles = tuple(sorted({float(part.strip().removeprefix("p")) for part in text.split(",")}))
    except ValueError:
        percentiles = ()
    if not percentiles or len(percentiles) > _MOST_PERCENTILES or not all(0 < value < 100 for value in percentiles):
        raise ConfigurationError(
            f"--percentiles must be up to {_MOST_PERCENTILES} numbers between 0 and 100, such as 50,95,99.9, "
            f"not {text!r}"
        )
    return percentiles
