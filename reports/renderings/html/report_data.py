"""What a report's script draws: the data of all charts, as it is embedded in the page."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ...recording.recorder import ALL
from ..shown_run import ShownRun
from .curves import Curve, Grid, curves, grid
from .metric_table import METRIC_MEANINGS
from .over_time import OverTime, OverTimeCollector
from .pause_points import PauseChart, PauseCollector
from .server_series import server_series
from .session_lines import SessionCollector, SessionLines

_MOST_CLASSES = 12
"""That charts offer, the largest ones; tables have them all."""


class RunData(msgspec.Struct, kw_only=True):
    """The charts of one run. `curves`: by metric, then by class."""

    name: str
    verdict_class: str
    curves: dict[str, dict[str, Curve]]
    over_time: OverTime
    sessions: SessionLines
    pauses: PauseChart | None = None


class ReportData(msgspec.Struct, kw_only=True):
    """All charts. `meanings`: what each metric is, in a few words."""

    grid: Grid
    meanings: dict[str, str]
    runs: list[RunData]


def report_data(runs: Sequence[ShownRun]) -> ReportData:
    """Read what is needed of each run, in one pass over its results and one over its steps.

    Raises:
        ConfigurationError: a run's files are damaged.
    """
    points = grid(percentile for run in runs for percentile in run.summary.percentiles)
    return ReportData(grid=points, meanings=METRIC_MEANINGS, runs=[_run_data(run, points) for run in runs])


def _run_data(run: ShownRun, points: Grid) -> RunData:
    classes = _classes(run)
    over_time, sessions, pauses = OverTimeCollector(), SessionCollector(), PauseCollector()
    for result in run.results():
        over_time.add(result)
        sessions.add(result)
        pauses.add(result)
    origin_s = run.config.origin_s
    return RunData(
        name=run.name,
        verdict_class=run.summary.verdict_class,
        curves=curves(run, points, classes),
        over_time=msgspec.structs.replace(
            over_time.over_time(run, classes), server=server_series(run.server_samples())
        ),
        sessions=sessions.session_lines(pauses.watch(run.steps(), origin_s), origin_s),
        pauses=pauses.chart(run.summary.pauses),
    )


def _classes(run: ShownRun) -> list[str]:
    """Those that charts offer: all, the verdict's, and the largest."""
    counts: dict[str, int] = {}
    for by_class in run.summary.metrics.values():
        for name, value in by_class.items():
            counts[name] = max(counts.get(name, 0), value.count)
    first = {ALL: None, run.summary.verdict_class: None}
    by_size = sorted(counts, key=lambda name: (-counts[name], name))
    return list(first | dict.fromkeys(by_size))[:_MOST_CLASSES]
