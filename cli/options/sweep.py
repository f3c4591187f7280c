"""The options of a sweep: the search for the highest request rate at which the objectives hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from typer import Option


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOptions:
    """What a sweep looks for, and how far."""

    panel: ClassVar[str] = "Sweep"

    sweep: Annotated[bool, Option("--sweep", help="Find the highest --request-rate that meets --goodput.")] = False
    sweep_share: Annotated[float, Option(min=0.01, max=1, help="Share of requests that must meet it.")] = 0.99
    max_rate: Annotated[float, Option(min=0.001, help="Highest rate of requests to try.")] = 1000.0
