"""Why the tail is there, for a whole run: the share of each cause, against how often its rule fits by chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from ...engine.loop.step_log import StepRecord
from ...workloads.watching.server_metrics import ServerSample
from ..recording.recorder import ALL, JUDGED
from ..summary.causes import Attribution, Cause, CauseShare, TailCauses, advice_on
from ..summary.state import State
from ..summary.summary import Summary
from .drift import drift
from .examine import Examined, ReadResults, examine
from .rules import Setting, cause_of
from .share import share_of
from .size import may_be_size
from .stalls import join_samples
from .steps import StepIndex
from .tail_events import TailEvent

_LEAST_EVENTS = 10
"""Fewer are accidents with a story each."""
_LEAST_OF_A_CAUSE = 5
_LIKELY_SHARE = 0.3
"""Of what chance leaves: from here on a cause is named."""
_SECOND_SHARE = 0.2
"""From here on, where another is named already."""
_BESIDE_DRIFT = frozenset({Cause.CLIENT, Cause.CONNECTION, Cause.COLD_PREFIX, Cause.REFUSALS})
"""Causes that stand on their own; queues, spells and stalls are what overload and drift look like from nearby."""


Labels = list[tuple[TailEvent, Cause]]


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
    samples = list(samples)
    worst = worst_other_class(summary)
    classes = [summary.verdict_class] if worst is None else [summary.verdict_class, worst]
    examined = examine(results, summary, classes, has_preempted=has_preempted(samples))
    join_samples(examined.stalls, samples)
    index = StepIndex(steps, origin_s)
    found = Attribution(stalls=examined.stalls, causes=_causes(examined, summary.verdict_class, summary, index))
    if worst is not None:
        found.worst_class = worst
        found.worst_causes = _causes(examined, worst, summary, index)
    likely = [cause for causes in found.causes.values() for cause in causes.likely]
    if Cause.DRIFT in likely:
        found.stalls = [stall for stall in found.stalls if stall.cause is not Cause.SLOW_SPELL]
    found.advice = [advice_on(cause) for cause in dict.fromkeys(likely)]
    return found


def worst_other_class(summary: Summary) -> str | None:
    """The class, besides the verdict's, with the largest flagged tail ratio; None if there is none."""
    ratios: dict[str, float] = {}
    for metric in JUDGED:
        for name, value in summary.metrics.get(metric, {}).items():
            if name not in (ALL, summary.verdict_class) and value.verdict is State.FLAGGED:
                ratios[name] = max(ratios.get(name, 0.0), value.tail_ratio)
    if summary.verdict_class == ALL and len({name for by in summary.metrics.values() for name in by}) <= 2:
        return None  # the same once more
    return max(ratios, key=lambda name: ratios[name]) if ratios else None


def has_preempted(samples: Sequence[ServerSample]) -> bool:
    """Whether the server's counter of preemptions grew during the run."""
    counts = [sample.preemptions for sample in samples if sample.preemptions is not None]
    return bool(counts) and counts[-1] > counts[0]


def label(events: Sequence[TailEvent], setting: Setting, index: StepIndex | None, *, is_gap: bool) -> Labels:
    """The cause of each gap, or of each ttft: by what a client can see, or exact as far as there is a step log."""
    labels: Labels = []
    for event in events:
        if event.is_gap == is_gap:
            is_exact = index is not None and index.knows(event)
            cause = index.cause_of_gap(event) if index is not None and is_exact else cause_of(event, setting)
            labels.append((event, cause))
    return labels


def _causes(examined: Examined, name: str, summary: Summary, index: StepIndex) -> dict[str, TailCauses]:
    tail = examined.tails[name]
    found: dict[str, TailCauses] = {}
    waits = summary.metrics.get("ttft", {}).get(name)
    if waits is not None and waits.verdict is State.NOT_STREAMED:
        return found  # what a first token waited for, and what came between tokens, are not known
    for metric, is_gap in (("itl", True), ("ttft", False)):
        labels = label(tail.events, examined.setting, index if is_gap else None, is_gap=is_gap)
        num_exact = sum(1 for event, _ in labels if not event.is_control and is_gap and index.knows(event))
        if (causes := _shares(labels)) is None:
            continue
        late = _late(labels, summary)
        threshold_s = tail.sample.gap_threshold_s if is_gap else tail.sample.ttft_threshold_s
        likely = _likely(causes, late)
        if not likely and may_be_size(summary, metric, name):
            likely = [Cause.SIZE]
        found[metric] = TailCauses(
            threshold_ms=round(threshold_s * 1e3, 4),
            events=tail.sample.num_gaps if is_gap else tail.sample.num_ttfts,
            examined=sum(1 for event, _ in labels if not event.is_control),
            exact=num_exact,
            causes=causes if late is None else [late, *causes],
            likely=likely,
        )
    return found


def _shares(labels: Labels) -> list[CauseShare] | None:
    tail = Counter(cause for event, cause in labels if not event.is_control)
    by_chance = Counter(cause for event, cause in labels if event.is_control)
    if tail.total() < _LEAST_EVENTS:
        return None
    shares = []
    for cause, count in tail.most_common():
        shares.append(share_of(cause, count, tail.total(), by_chance[cause], by_chance.total()))
    return shares


def _late(labels: Labels, summary: Summary) -> CauseShare | None:
    events = [event for event, _ in labels if not event.is_control]
    controls = [event for event, _ in labels if event.is_control]
    return drift(events, controls, summary)


def _likely(causes: Sequence[CauseShare], late: CauseShare | None) -> list[Cause]:
    """What stands out, the most of the tail first."""
    least = _SECOND_SHARE if any(share.excess >= _LIKELY_SHARE for share in causes) else _LIKELY_SHARE
    named = [share.cause for share in causes if share.excess >= least and share.events >= _LEAST_OF_A_CAUSE]
    return named if late is None else [Cause.DRIFT, *(cause for cause in named if cause in _BESIDE_DRIFT)]
