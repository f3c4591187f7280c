"""Runs as renderings take them."""

from __future__ import annotations

from collections.abc import Iterable

from abatch.reports.gates.judge import Judgement
from abatch.reports.renderings.shown_run import ShownRun, shown_target
from abatch.reports.run.folder import RunReader
from abatch.reports.run.measurement import Measurement


def shown_run(reader: RunReader, name: str = "", judgements: Iterable[Judgement] = ()) -> ShownRun:
    """A saved run, by the name of its folder where it is given none."""
    return shown_target(name or reader.folder.resolve().name, Measurement([reader]), judgements)
