"""What a run comes to, in one plain sentence: the first line that anyone reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..formatting import (
    MOST_PRACTICAL,
    counted,
    duration,
    factor,
    interval_in_words,
    listed,
    rounded_up,
    samples_needed,
)
from ..recording.recorder import ALL
from ..statistics.interval import Interval
from .causes import BECAUSE, WAITS, Attribution, Cause
from .evenly_slow import evenly_slow, slowdown_of
from .finding import Finding, Label, Tone
from .metric import MetricSummary
from .state import FLAG_RATIO, MIN_SAMPLES, State
from .summary import Summary

PRIMARY = ("ttft", "itl", "e2e")
"""A run is OK only if all of these are, as far as they exist: a run of one token per answer has no gaps."""
_NAMES = {
    "ttft": "TTFT",
    "resume_ttft": "TTFT after a tool pause",
    "itl": "gap between tokens",
    "max_gap": "longest gap of a request",
    "e2e": "time of a whole request",
}
_MOST_CAUSES = 2
NOT_MISSED = 3
"""What comes this many times in a run on average is missing from one in twenty (Poisson)."""


def causes_of(metric: str, attribution: Attribution | None) -> list[Cause]:
    """The likely causes of a metric's tail."""
    causes = None if attribution is None else attribution.causes.get(WAITS[metric])
    return [] if causes is None else causes.likely


def waits_of(metrics: Iterable[str]) -> list[str]:
    """The kinds of wait (`ttft`, `itl`) that the tails of these metrics are made of."""
    return list(dict.fromkeys(WAITS[metric] for metric in metrics))


def verdict(summary: Summary, measured: Mapping[str, MetricSummary]) -> Finding:
    """The verdict on a run that nothing speaks against.

    Args:
        summary: The run's.
        measured: The judged metrics of the verdict's class; at least one.
    """
    by_ratio = sorted(measured.items(), key=lambda item: (item[0] not in PRIMARY, -item[1].tail[2]))
    slow = evenly_slow(summary, measured)
    if slow is not None and all(
        value.verdict is not State.FLAGGED or value.tail[2] < slowdown_of(slow) for value in measured.values()
    ):
        return slow
    stalled = _stalled(summary, by_ratio)
    for state, label in _TAILS.items():
        if state is State.BORDERLINE and stalled is not None:
            return stalled
        if (worst := next((item for item in by_ratio if item[1].verdict is state), None)) is not None:
            return _of_tail(summary, label, *worst)
    few = {metric: value for metric, value in measured.items() if value.verdict is State.TOO_FEW}
    if missing := {metric: value for metric, value in few.items() if metric in PRIMARY}:
        return _not_enough(summary, measured, missing)
    judged = {metric: value for metric, value in measured.items() if metric not in few}
    return _ok(summary, judged, few) if judged else _not_enough(summary, measured, few)


def _ok(summary: Summary, judged: Mapping[str, MetricSummary], few: Iterable[str]) -> Finding:
    largest = max(value.tail_ratio for value in judged.values())
    words = (
        f"no tail stands out{_of_class(summary)}: p99 is at most {largest:.1f}x the median of {listed(list(judged))}"
    )
    if few:
        words += f" ({', '.join(few)}: too few samples)"
    if not summary.simulated:
        words += f". Stalls rarer than one in {duration(summary.measured_s / NOT_MISSED * 1e3)} are not excluded"
    return _finding(summary, Label.OK, Tone.GOOD, words, tail_ratio=largest)


_TAILS = {
    State.FLAGGED: Label.FLAGGED,
    State.BORDERLINE: Label.BORDERLINE,
    State.UNEVEN_WORK: Label.UNEVEN_WORK,
}
"""By weight: a possible tail is worth more of a reader's time than one that is explained."""


def _of_tail(summary: Summary, label: Label, metric: str, value: MetricSummary) -> Finding:
    ratio = value.tail[2]
    words = _so_high(summary, metric, *value.tail)
    if label is Label.UNEVEN_WORK:
        words += f", because {BECAUSE[Cause.SIZE]}{_others_without_tail(summary)}"
    elif ratio > FLAG_RATIO:
        reasons = [_because(summary, cause) for cause in causes_of(metric, summary.attribution)[:_MOST_CAUSES]]
        words += f", because {' and '.join(reasons)}" if reasons else "; no single cause stands out"
    if label is Label.BORDERLINE:
        words += f". {_how_sure(value.tail_ratio_interval)}: run longer to tell"
    return _finding(summary, label, value.verdict.tone, words, tail_ratio=ratio)


def _others_without_tail(summary: Summary) -> str:
    by_class = {metric: summary.metrics.get(metric, {}).get(summary.verdict_class) for metric in PRIMARY}
    even = [metric for metric, value in by_class.items() if value is not None and value.verdict is State.OK]
    return f"; {listed(even)} {'has' if len(even) == 1 else 'have'} no tail" if even else ""


def _stalled(summary: Summary, by_ratio: Sequence[tuple[str, MetricSummary]]) -> Finding | None:
    """What a stall did that was seen: no claim for other runs, which the interval of a tail makes."""
    for metric, value in by_ratio:
        tail = value.tail
        if value.count < MIN_SAMPLES and value.p50_ms:
            tail = ("p90", value.p90_ms, value.p90_ms / value.p50_ms)
        if tail[2] > FLAG_RATIO and Cause.STALL in causes_of(metric, summary.attribution):
            words = f"{_so_high(summary, metric, *tail)}, because {_because(summary, Cause.STALL)}"
            words += ". Whether other runs have such stalls, this one cannot say"
            return _finding(summary, Label.FLAGGED, Tone.BAD, words, tail_ratio=tail[2])
    return None


def _so_high(summary: Summary, metric: str, percentile: str, at_ms: float, ratio: float) -> str:
    times = f"{ratio:.0f}x" if ratio >= 10 else f"{ratio:.1f}x"
    return f"your {percentile} {_NAMES[metric]}{_of_class(summary)} is {duration(at_ms)}, {times} the median"


def _how_sure(interval: Interval | None) -> str:
    if interval is None or interval.low <= 1:
        return "It is too few events to say that another run would have them"
    return f"Another run may well come out differently ({interval_in_words(interval, factor)})"


def _because(summary: Summary, cause: Cause) -> str:
    found = [] if summary.attribution is None else summary.attribution.stalls
    stalls = [stall for stall in found if stall.cause is cause]
    longest = max(stalls, key=lambda stall: stall.length_s, default=None)
    if cause is not Cause.STALL or longest is None:
        return BECAUSE[cause]
    again = f" and {counted(len(stalls) - 1, 'more time')}" if len(stalls) > 1 else ""
    return f"the server made no progress for {longest.length_s:.2f} s at {longest.start_s:.1f} s{again}"


def _not_enough(
    summary: Summary, measured: Mapping[str, MetricSummary], missing: Mapping[str, MetricSummary]
) -> Finding:
    parts, needed_s = [], 0.0
    for metric, value in missing.items():
        needed = value.samples_for_p99
        parts.append(f"{metric} {value.count:,} of {samples_needed(needed)}")
        if value.count:
            needed_s = max(needed_s, summary.measured_s * needed / value.count)
    words = f"p99{_of_class(summary)} cannot be judged yet: {', '.join(parts)}"
    if needed_s > summary.measured_s and all(value.samples_for_p99 <= MOST_PRACTICAL for value in missing.values()):
        about = duration(rounded_up(needed_s) * 1e3)
        words += f". At this rate about {about} of measuring would be enough (--duration, besides the warm-up)"
    judged = [metric for metric, value in measured.items() if value.verdict is not State.TOO_FEW]
    if judged:
        words += f". Not above {FLAG_RATIO:g}x so far: {listed(judged)}"
    numbers = {f"{metric}_samples": float(value.count) for metric, value in missing.items()}
    return _finding(summary, Label.NOT_ENOUGH_DATA, Tone.CAUTION, words, **numbers)


def _of_class(summary: Summary) -> str:
    return "" if summary.verdict_class == ALL else f" of class {summary.verdict_class}"


def _finding(summary: Summary, label: Label, tone: Tone, words: str, **numbers: float) -> Finding:
    return Finding(label=label, tone=tone, words=words, traffic_class=summary.verdict_class, numbers=numbers)
