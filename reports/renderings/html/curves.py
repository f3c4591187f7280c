"""Percentile curves: latency over the number of nines, as HdrHistogram's own plots have it."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterable, Sequence

import msgspec
from hdrh.histogram import HdrHistogram

from ...run.histogram_log import tag
from ...statistics.percentile import filled, rank_at
from ..shown_run import ShownRun

_NAMED = (0.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99, 99.999)
_POINTS_PER_NINE = 24
_MOST_NINES = 7


class Grid(msgspec.Struct, frozen=True):
    """The percentiles that all curves of a report are given at.

    Attributes:
        percents: From 0 up.
        nines: Where each is on the axis: -log10 of the share above it, so that 90% is 1 and 99% is 2.
    """

    percents: list[float]
    nines: list[float]


class Curve(msgspec.Struct, frozen=True):
    """The percentiles of a metric of a class.

    Attributes:
        count: Samples.
        end: Where the maximum has its place on the axis, in nines: right after the last percentile that is not the
            maximum itself. Beyond it nothing is known.
        us: Microseconds at each point of the grid before that, and at the end the maximum.
    """

    count: int
    end: float
    us: list[int]


def grid(asked: Iterable[float] = ()) -> Grid:
    """Evenly spaced nines, and exactly the usual named percentiles and these."""
    named = sorted({*_NAMED, *(percent for percent in asked if 0 <= percent < 100)})
    places = [nines(percent) for percent in named]
    points = dict(zip(places, named, strict=True))
    for index in range(_MOST_NINES * _POINTS_PER_NINE):
        place = index / _POINTS_PER_NINE
        if all(abs(place - other) > 0.2 / _POINTS_PER_NINE for other in places):
            points[round(place, 5)] = 100 * (1 - 10**-place)
    ordered = sorted(points.items())
    return Grid([percent for _, percent in ordered], [place for place, _ in ordered])


def nines(percent: float) -> float:
    """Where a percentile below 100 is on the axis."""
    return round(-math.log10(1 - percent / 100), 5) + 0.0


def curve(histogram: HdrHistogram, points: Grid) -> Curve | None:
    """A histogram of microseconds as a curve, by the ranks of `value_at`; None if it is empty."""
    count = int(histogram.get_total_count())
    if count == 0:
        return None
    places = filled(histogram)
    cumulative = list(itertools.accumulate(number for _, number in places))
    values_us = []
    for percent in points.percents:
        rank = rank_at(percent, count)
        if percent and rank == count:
            break
        lowest_us = int(histogram.get_value_from_index(places[bisect.bisect_left(cumulative, rank)][0]))
        values_us.append(int(histogram.get_highest_equivalent_value(lowest_us)) if percent else lowest_us)
    end = round(math.log10(count) + 0.5 / _POINTS_PER_NINE, 5)
    return Curve(count, end, [*values_us, int(histogram.get_max_value())])


def curves(run: ShownRun, points: Grid, classes: Sequence[str]) -> dict[str, dict[str, Curve]]:
    """The curves of a run, of these classes, by metric and class."""
    found: dict[str, dict[str, Curve]] = {}
    for metric, by_class in run.summary.metrics.items():
        for traffic_class in classes:
            histogram = run.histograms.get(tag(metric, traffic_class)) if traffic_class in by_class else None
            if histogram is not None and (made := curve(histogram, points)) is not None:
                found.setdefault(metric, {})[traffic_class] = made
    return found
