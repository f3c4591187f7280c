"""The part of a run that its summary is about, and the summary of what was recorded of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import msgspec

from ...workloads.result import Result
from ...workloads.traffic_classes import MOST_CLASSES, OTHER
from ..recording.in_flight import SteadyState
from ..recording.recorder import JUDGED, Recorder
from ..summary.answers import answer_notes
from ..summary.steadiness import growth_notes
from ..summary.summary import Summary, fill_summary
from .config import RunConfig


@dataclass(frozen=True, slots=True)
class RecordedPart:
    """What was recorded of a run: of the whole measured part, or of the steady part of it where that was asked for.

    Attributes:
        start_s: When the part begins, in seconds since the run began; it is `measured_s` long.
        steady: The steady part of the run, asked for or not; None if it was too short to have one.
    """

    recorder: Recorder
    start_s: float
    measured_s: float
    steady: SteadyState | None


def recorded_part(
    config: RunConfig,
    recorder: Recorder,
    measured_s: float,
    results: Callable[[], Iterable[Result]],
    timed: Sequence[str] = JUDGED,
) -> RecordedPart:
    """The part of a run that its summary is about.

    Args:
        config: The run's.
        recorder: What was recorded of the whole run.
        measured_s: How long its measured part was.
        results: Starts a new pass over its results.
        timed: Metrics to be kept by time too.
    """
    steady = recorder.in_flight.steady_state(config.warmup_s + measured_s)
    if not config.steady_state or steady is None:
        return RecordedPart(recorder, config.warmup_s, measured_s, steady)
    recorder = config.new_recorder((steady.from_s, steady.to_s), timed)
    for result in results():
        is_outside = not steady.from_s <= result.due_s < steady.to_s
        recorder.add(msgspec.structs.replace(result, warmup=is_outside))
    return RecordedPart(recorder, steady.from_s, steady.to_s - steady.from_s, steady)


def summarise(config: RunConfig, part: RecordedPart) -> Summary:
    """The summary of a recorded part."""
    summary = fill_summary(config.new_summary(), part.recorder, part.measured_s)
    summary.steady_state = part.steady
    summary.warnings += [*growth_notes(summary), *answer_notes(summary), *_class_notes(summary)]
    return summary


def _class_notes(summary: Summary) -> list[str]:
    """That not all classes are told apart; nothing if they are."""
    if not any(OTHER in by_class for by_class in summary.metrics.values()):
        return []
    return [f"of more than {MOST_CLASSES} traffic classes the first {MOST_CLASSES} are told apart, the rest is {OTHER}"]
