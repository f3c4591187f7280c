"""A saved run as renderings take it: its numbers at hand, its results to be read when somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from hdrh.histogram import HdrHistogram

from ..engine.step_log import StepRecord
from ..workloads.result import Result
from .gates import Judgement
from .run_config import RunConfig
from .run_file import RunReader
from .summary import Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownRun:
    """One run, or one target of several rounds, with the name it goes by where there are several.

    Attributes:
        histograms: Of what the summary is about, by tag `metric.class`; microseconds.
        results: Begins to read its results, in the order in which they ended; of several rounds, those of the first.
        steps: Likewise the engine's step log; nothing where there is none. Times are of the engine's clock: subtract
            `config.origin_s`.
        judgements: What became of the rules that it was held against.
    """

    name: str
    config: RunConfig
    summary: Summary
    histograms: Mapping[str, HdrHistogram]
    results: Callable[[], Iterable[Result]]
    steps: Callable[[], Iterable[StepRecord]]
    judgements: tuple[Judgement, ...] = ()


def shown_run(reader: RunReader, name: str = "", judgements: Iterable[Judgement] = ()) -> ShownRun:
    """A saved run to be shown.

    Raises:
        ConfigurationError: it is damaged.
    """
    return ShownRun(
        name=name or reader.folder.resolve().name,
        config=reader.config,
        summary=reader.summary(),
        histograms=reader.histograms(),
        results=reader.results,
        steps=reader.steps,
        judgements=tuple(judgements),
    )
