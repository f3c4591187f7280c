"""Runs as renderings take them."""

from __future__ import annotations

from collections.abc import Iterable

from abatch.reports.gates import Judgement
from abatch.reports.measurement import Measurement
from abatch.reports.run_file import RunReader
from abatch.reports.shown_run import ShownRun, shown_target


def shown_run(reader: RunReader, name: str = "", judgements: Iterable[Judgement] = ()) -> ShownRun:
    """A saved run, by the name of its folder where it is given none."""
    return shown_target(name or reader.folder.resolve().name, Measurement([reader]), judgements)
