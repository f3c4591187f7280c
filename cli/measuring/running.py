"""Running a plan, by whoever only has one: the client and the engine are loaded when a run begins."""

from __future__ import annotations

from collections.abc import Callable

from .observer import SILENT, Observer
from .plan import Plan
from .run import Run


def run(plan: Plan, observer: Observer = SILENT, on_ready: Callable[[], None] = lambda: None) -> Run:
    """Do a run and save it. See `run` in `measure.py`."""
    from .measure import run as measure  # most of abatch: help and completion would wait for it

    return measure(plan, observer, on_ready)
