"""Why the tail is there, for a whole run: the share of each cause, against how often its rule fits an ordinary wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from ...engine.loop.step_log import StepRecord
from ...workloads.result import Result
from ...workloads.watching.server_metrics import ServerSample
from ..recording.recorder import ALL
from ..summary.causes import Attribution, Cause, CauseShare, TailCauses, advice_on
from ..summary.state import FLAG_RATIO
from ..summary.summary import Summary
from .neighbours import Neighbours
from .rules import Setting, cause_of
from .stalls import find_stalls, join_samples
from .steps import StepIndex
from .tail_events import TailEvent, TailSample

_LEAST_EVENTS = 10
"""Fewer are accidents with a story each."""
_LIKELY_SHARE = 0.3
"""Of what the base rate leaves: from here on a cause is named."""


Labels = list[tuple[TailEvent, Cause]]
ReadResults = Callable[[], Iterable[Result]]


def attribute(
    results: ReadResults,
    summary: Summary,
    steps: Iterable[StepRecord] = (),
    origin_s: float = 0.0,
    samples: Iterable[ServerSample] = (),
) -> Attribution:
    """Read a run's results twice: once for the tail, once for what went on around it.

    Args:
        results: Starts a new pass over them, in any order.
        summary: Of the same run; medians, expectation and the client's lapses come from it.
        steps: Of our own engine, if it logged them.
        origin_s: When the run began, by the clock of the steps.
        samples: The server's metrics, in order.
    """
    sample, setting = examine(results, summary)
    join_samples(setting.stalls, samples)
    index = StepIndex(steps, origin_s)
    found = Attribution(stalls=list(setting.stalls))
    for metric, is_gap in (("itl", True), ("ttft", False)):
        labels = label(sample.events(), setting, index if is_gap else None, is_gap=is_gap)
        num_exact = sum(1 for event, _ in labels if not event.is_control and is_gap and index.knows(event))
        if (causes := _shares(labels)) is None:
            continue
        threshold_s = sample.gap_threshold_s if is_gap else sample.ttft_threshold_s
        found.causes[metric] = TailCauses(
            threshold_ms=round(threshold_s * 1e3, 4),
            events=sample.num_gaps if is_gap else sample.num_ttfts,
            examined=sum(1 for event, _ in labels if not event.is_control),
            exact=num_exact,
            causes=causes,
            likely=_likely(causes, summary, metric),
        )
    likely = [cause for causes in found.causes.values() for cause in causes.likely]
    found.advice = [advice_on(cause) for cause in dict.fromkeys(likely)]
    return found


def examine(results: ReadResults, summary: Summary) -> tuple[TailSample, Setting]:
    """The tail's sample with what was around it, and what the rules must know of the run."""
    sample = TailSample(summary)
    for result in results():
        sample.add(result)
    stalls = find_stalls(sample.long_gaps)
    itl_p50_s, ttft_p50_s = _p50_s(summary, "itl"), _p50_s(summary, "ttft")
    as_events = [
        TailEvent(("", index), stall.start_s, stall.end_s, is_gap=True, mean_gap_s=itl_p50_s)
        for index, stall in enumerate(stalls)
    ]
    events = [*sample.events(), *as_events]
    neighbours = Neighbours(events, summary.expectation, itl_p50_s=itl_p50_s, ttft_p50_s=ttft_p50_s)
    for result in results():
        neighbours.add(result)
    lapses = [] if summary.client is None else summary.client.lapses
    setting = Setting(lapses, stalls, summary.expectation, itl_p50_s, ttft_p50_s)
    for stall, event in zip(stalls, as_events, strict=True):
        stall.cause = cause_of(event, setting)
        stall.waiting = event.around.num_waiting
    return sample, setting


def label(events: Sequence[TailEvent], setting: Setting, index: StepIndex | None, *, is_gap: bool) -> Labels:
    """The cause of each gap, or of each ttft: by what a client can see, or exact as far as there is a step log."""
    labels: Labels = []
    for event in events:
        if event.is_gap == is_gap:
            is_exact = index is not None and index.knows(event)
            cause = index.cause_of_gap(event) if index is not None and is_exact else cause_of(event, setting)
            labels.append((event, cause))
    return labels


def _shares(labels: Labels) -> list[CauseShare] | None:
    tail = Counter(cause for event, cause in labels if not event.is_control)
    ordinary = Counter(cause for event, cause in labels if event.is_control)
    if tail.total() < _LEAST_EVENTS:
        return None
    shares = []
    for cause, count in tail.most_common():
        share = count / tail.total()
        base_rate = ordinary[cause] / ordinary.total() if ordinary else 0.0
        excess = (share - base_rate) / (1 - base_rate) if base_rate < 1 else 0.0
        shares.append(
            CauseShare(
                cause=cause,
                share=round(share, 4),
                base_rate=round(base_rate, 4),
                excess=round(max(0.0, excess), 4) if cause is not Cause.UNKNOWN else 0.0,
                events=count,
            )
        )
    return shares


def _likely(causes: Sequence[CauseShare], summary: Summary, metric: str) -> list[Cause]:
    """What stands out; nothing but the workload's size, where that makes the whole tail."""
    measured = summary.metrics.get(metric, {}).get(summary.verdict_class)
    normalised = None if measured is None else measured.normalised_ratio
    if measured is not None and normalised is not None and normalised <= FLAG_RATIO < measured.tail_ratio:
        return [Cause.SIZE]
    return [share.cause for share in causes if share.excess >= _LIKELY_SHARE]


def _p50_s(summary: Summary, metric: str) -> float:
    by_class = summary.metrics.get(metric, {})
    measured = by_class.get(summary.verdict_class) or by_class.get(ALL)
    return measured.p50_ms / 1e3 if measured else 0.0
