"""Two passes over a run's results: one for the tail, one for what went on around it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ...workloads.result import Result
from ..recording.recorder import ALL
from ..summary.causes import Cause, Stall
from ..summary.summary import Summary
from .contexts import Contexts
from .interference import prompt_cost_s
from .neighbours import Neighbours
from .progress import Progress
from .rules import Setting, cause_of, stands_out
from .stalls import find_stalls, merge_spells
from .tail_events import TailEvent, TailSample

ReadResults = Callable[[], Iterable[Result]]
"""Starts a new pass over results, in any order."""

_LEAST_SILENCE_S = 0.1
_LONG_SILENCE = 5.0
"""Medians of gaps, and of times to first token: a shorter silence may be a step, or the prompts of all in flight."""


@dataclass(frozen=True, slots=True)
class ExaminedTail:
    """The tail of a class, with what was around it. `events`: of the sample, and the controls."""

    sample: TailSample
    events: Sequence[TailEvent]


@dataclass(frozen=True, slots=True)
class Examined:
    """Tails by class, and what the rules must know of the run."""

    tails: dict[str, ExaminedTail]
    setting: Setting
    stalls: list[Stall]


def examine(
    results: ReadResults, summary: Summary, classes: Sequence[str] | None = None, *, has_preempted: bool = False
) -> Examined:
    """Look at the tails of these classes, by default the verdict's."""
    reports_hits = summary.cached_tokens > 0
    samples = [TailSample(summary, name) for name in classes or [summary.verdict_class]]
    contexts, progress = Contexts(reports_hits=reports_hits), Progress()
    for result in results():
        lost_tokens, prefill_tokens = contexts.add(result)
        progress.add(result)
        for sample in samples:
            sample.add(result, lost_tokens, prefill_tokens)
    known = progress.sum_up()
    (itl_p50_s, _), (ttft_p50_s, ttft_p90_s) = _usual_s(summary, "itl"), _usual_s(summary, "ttft")
    silences = known.silences(max(_LEAST_SILENCE_S, _LONG_SILENCE * max(itl_p50_s, ttft_p50_s)))
    stalls = [stall for stall in find_stalls(samples[0].long_gaps, silences) if not known.is_left_over(stall.start_s)]
    as_events = [TailEvent(("", index), stall.start_s, stall.end_s, is_gap=True) for index, stall in enumerate(stalls)]
    tails = {sample.traffic_class: ExaminedTail(sample, sample.events()) for sample in samples}
    any_gaps = samples[0].any_gaps()
    neighbours = Neighbours(
        [*as_events, *any_gaps, *(event for tail in tails.values() for event in tail.events)],
        summary.expectation,
        itl_p50_s=itl_p50_s,
        ttft_p50_s=ttft_p50_s,
        reports_hits=reports_hits,
    )
    for result in results():
        neighbours.add(result)
    lapses = [] if summary.client is None else summary.client.lapses
    setting = Setting(
        lapses=lapses,
        stalls=stalls,
        expected=summary.expectation,
        progress=known,
        itl_p50_s=itl_p50_s,
        ttft_p50_s=ttft_p50_s,
        ttft_p90_s=ttft_p90_s,
        prompt_cost_s=prompt_cost_s(any_gaps),
        long_context=samples[0].long_context,
        has_preempted=has_preempted,
    )
    for stall, event in zip(stalls, as_events, strict=True):
        cause = cause_of(event, setting)
        if cause is not Cause.STALL:
            stall.cause = cause
        elif not stands_out(event, known):
            stall.cause = Cause.UNKNOWN
        stall.waiting = event.around.num_waiting
    return Examined(tails, setting, merge_spells(stalls))


def _usual_s(summary: Summary, metric: str) -> tuple[float, float]:
    """(p50, p90) of the verdict's class, or of all where that has none."""
    by_class = summary.metrics.get(metric, {})
    measured = by_class.get(summary.verdict_class) or by_class.get(ALL)
    return (measured.p50_ms / 1e3, measured.p90_ms / 1e3) if measured else (0.0, 0.0)
