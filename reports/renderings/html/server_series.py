"""The server's metrics during a run, as series for the chart of its load."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from ....workloads.watching.server_metrics import ServerSample
from .over_time import ServerSeries

_MOST_POINTS = 400

_SERIES: tuple[tuple[str, str, Callable[[ServerSample], float | None]], ...] = (
    ("running", "requests", lambda sample: sample.running),
    ("waiting", "requests", lambda sample: sample.waiting),
    ("KV used", "%", lambda sample: None if sample.kv_used is None else 100 * sample.kv_used),
    ("GPU busy", "%", lambda sample: None if sample.gpu_busy is None else 100 * sample.gpu_busy),
    ("GPU power", "W", lambda sample: sample.gpu_power_w),
)


def server_series(samples: Iterable[ServerSample]) -> list[ServerSeries]:
    """The series that there is anything of. Of long runs, the largest value of neighbouring samples: peaks stay."""
    known = [sample for sample in samples if not sample.unanswered]
    stride = math.ceil(len(known) / _MOST_POINTS)
    found = []
    for name, unit, read in _SERIES:
        points = [(sample.answered_s, value) for sample in known if (value := read(sample)) is not None]
        groups = [points[start : start + stride] for start in range(0, len(points), max(stride, 1))]
        if groups:
            found.append(
                ServerSeries(
                    name=name,
                    unit=unit,
                    t=[round(group[0][0], 2) for group in groups],
                    v=[round(max(value for _, value in group), 2) for group in groups],
                )
            )
    return found
