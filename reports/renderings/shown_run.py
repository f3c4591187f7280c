"""A saved run as renderings take it: its numbers at hand, its results read on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from hdrh.histogram import HdrHistogram

from ...engine.loop.step_log import StepRecord
from ...workloads.result import Result
from ...workloads.watching.server_metrics import ServerSample
from ..gates.judge import Judgement
from ..run.config import RunConfig
from ..run.measurement import Measurement
from ..summary.summary import Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownRun:
    """One run, or one target of several rounds, with the name that tells it from others.

    Attributes:
        histograms: Of what the summary is about, by tag `metric.class`; microseconds.
        results: Starts a pass over its results in the order in which they ended; of several rounds, over the first's.
        steps: Likewise the engine's step log; empty if there is none. Times are of the engine's clock: subtract
            `config.origin_s`.
        server_samples: Likewise the server's metrics. Times are seconds since the run began.
        judgements: What became of the rules.
    """

    name: str
    config: RunConfig
    summary: Summary
    histograms: Mapping[str, HdrHistogram]
    results: Callable[[], Iterable[Result]]
    steps: Callable[[], Iterable[StepRecord]]
    server_samples: Callable[[], Iterable[ServerSample]]
    judgements: tuple[Judgement, ...] = ()


def shown_target(name: str, measurement: Measurement, judgements: Iterable[Judgement] = ()) -> ShownRun:
    """A target to be shown, all rounds of it together.

    Raises:
        ConfigurationError: a run is damaged.
    """
    first = measurement.rounds[0]
    return ShownRun(
        name=name,
        config=first.config,
        summary=measurement.summary,
        histograms=measurement.histograms,
        results=first.results,
        steps=first.steps,
        server_samples=first.server_samples,
        judgements=tuple(judgements),
    )
