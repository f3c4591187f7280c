"""What a run comes to, as findings: verdict, offending metrics and by how much, likely causes, what to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ...workloads.traffic_classes import OTHER
from ..formatting import counted, factor, interval_in_words, milliseconds
from ..recording.recorder import ALL, JUDGED
from ..traffic.extent import unsent_in_words
from .answers import answer_token_doubt, streaming_doubt
from .causes import Attribution, Cause, ServerThen, Stall, TailCauses, advice_on
from .doubts import doubts_with
from .errors import error_findings, no_success
from .evenly_slow import evenly_slow
from .finding import SIMULATED, Finding, Label, Tone
from .metric import MetricSummary
from .state import State
from .summary import Summary
from .verdict import verdict, waits_of

_BY_WEIGHT = (
    *(State.FLAGGED, State.BORDERLINE, State.UNEVEN_WORK, State.OK),
    *(State.NOT_STREAMED, State.TOO_FEW),
)
_LABELS = {
    State.FLAGGED: Label.FLAGGED,
    State.BORDERLINE: Label.BORDERLINE,
    State.UNEVEN_WORK: Label.UNEVEN_WORK,
}
"""Of a metric with a tail."""
_MOST_STALLS = 3
_TOLD_STALLS = frozenset({Cause.STALL, Cause.CLIENT, Cause.SLOW_SPELL, Cause.NETWORK})


def findings(summary: Summary) -> list[Finding]:
    """In the order of a report: the verdict in a sentence, errors, what speaks against trusting it, tails, causes."""
    of_class = {metric: summary.metrics.get(metric, {}).get(summary.verdict_class) for metric in JUDGED}
    measured = {
        metric: value
        for metric, value in of_class.items()
        if value is not None and value.verdict is not State.NOT_STREAMED
    }
    suspects = _suspects(measured)
    found = [SIMULATED] if summary.simulated else []
    found += _heads(summary, measured)
    if summary.unsent is not None:
        found.append(note(unsent_in_words(summary.unsent, cut=summary.censored)))
    found += [_tail(metric, value, summary.verdict_class) for metric, value in suspects.items()]
    found += _of_other_classes(summary)
    if summary.attribution is not None:
        found += _causes(summary, summary.attribution, suspects)
    return found


def _heads(summary: Summary, measured: Mapping[str, MetricSummary]) -> Iterator[Finding]:
    """The verdict, or what speaks against one; then failures too few to do that, and further reasons for doubt."""
    if summary.succeeded == 0:
        yield no_verdict(no_success(summary))
    elif not measured:
        has_others = any(OTHER in by_class for by_class in summary.metrics.values())
        hint = f"; it may be one of those that are counted in {OTHER}" if has_others else ""
        yield no_verdict(f"no request of class {summary.verdict_class} succeeded{hint}")
    elif not summary.is_complete:
        yield interrupted("no verdict: this run did not finish, and these numbers are of the saved part")
    judged = [metric for metric, value in measured.items() if value.verdict is not State.TOO_FEW]
    problems = doubts_with(summary, judged, summary.verdict_class) if measured else []
    yield from problems[:1]
    rest = [error for error in error_findings(summary) if error not in problems]
    streaming = streaming_doubt(summary, summary.verdict_class)
    if streaming is not None and summary.succeeded:
        yield streaming
    if (unanswered := answer_token_doubt(summary, summary.verdict_class)) is not None:
        yield unanswered
    is_of_a_class = any(error.tone is Tone.BAD for error in rest)  # of all it would be among the problems
    if is_of_a_class:
        yield from rest
    if measured and summary.succeeded and summary.is_complete and not problems:
        yield (told := verdict(summary, measured))
        if (slow := evenly_slow(summary, measured)) is not None and slow != told:
            yield slow
    if not is_of_a_class:
        yield from rest
    yield from problems[1:]


def interrupted(words: str) -> Finding:
    """What was measured is not the whole."""
    return Finding(label=Label.INTERRUPTED, tone=Tone.CAUTION, words=words)


def no_verdict(words: str) -> Finding:
    """There is nothing to judge."""
    return Finding(label=Label.NO_VERDICT, tone=Tone.BAD, words=words)


def note(words: str) -> Finding:
    """Something to know."""
    return Finding(label=Label.NOTE, tone=Tone.CAUTION, words=words)


def stall_in_words(stall: Stall) -> str:
    """Who made no progress, or little, for how long and when, and what that affected."""
    if stall.cause is Cause.SLOW_SPELL:
        return f"the server was slow for {stall.length_s:.2f} s, {stall.start_s:.1f} s into the run"
    affected = f"{counted(stall.streams, 'stream')} and {counted(stall.waiting, 'waiting request')} affected"
    if stall.cause is Cause.NETWORK:
        return (
            f"nothing arrived for {stall.length_s:.2f} s, {stall.start_s:.1f} s into the run, then all that had been "
            f"held up; {affected}"
        )
    who = {Cause.STALL: "the server", Cause.CLIENT: "the client"}.get(stall.cause)
    subject = "several streams" if who is None else who
    words = f"{subject} made no progress for {stall.length_s:.2f} s, {stall.start_s:.1f} s into the run; {affected}"
    return words if who is not None else f"{words} ({stall.cause})"


def stall_facts(then: ServerThen) -> str:
    """What the server's metrics said around a stall; empty if they said nothing of use."""
    parts = []
    for name, before, after in (
        ("running", then.running_before, then.running_after),
        ("waiting", then.waiting_before, then.waiting_after),
    ):
        known = dict.fromkeys(str(value) for value in (before, after) if value is not None)
        if known:
            parts.append(f"{' -> '.join(known)} {name}")
    if then.silent_s is not None:
        parts.insert(0, f"no answer for {then.silent_s:.1f} s")
    return f"its /metrics: {', '.join(parts)}" if parts else ""


def _suspects(measured: Mapping[str, MetricSummary]) -> dict[str, MetricSummary]:
    """The metrics with a tail, those that are flagged before those that may be; the largest ratio first."""
    by_ratio = sorted(measured.items(), key=lambda item: -item[1].tail[2])
    return {metric: value for state in _LABELS for metric, value in by_ratio if value.verdict is state}


def _tail(metric: str, value: MetricSummary, traffic_class: str) -> Finding:
    percentile, at_ms, ratio = value.tail
    of_class = "" if traffic_class == ALL else f" in class {traffic_class}"
    numbers = {"tail_ratio": ratio, "p50_ms": value.p50_ms, f"{percentile}_ms": at_ms}
    words = f"{metric} {percentile} is {factor(ratio)} its median{of_class} "
    words += f"({milliseconds(value.p50_ms)} -> {milliseconds(at_ms)} ms"
    interval = value.tail_ratio_interval if value.lower is None else value.lower.interval
    if interval is not None and interval.low > 1:
        words += f"; {interval_in_words(interval, factor)}"
        numbers["tail_ratio_low"] = interval.low
        if not interval.is_open:
            numbers["tail_ratio_high"] = interval.high
    if value.lower is not None:
        words += f"; {value.count:,} samples are too few for p99, which is higher still"
    words += ")"
    if value.normalised_ratio is not None:
        words += f"; {factor(value.normalised_ratio)} after normalising for request size"
        numbers["normalised_ratio"] = value.normalised_ratio
        interval = value.normalised_interval
        if interval is not None and (interval.low > 1 or not interval.is_open):
            words += f" ({interval_in_words(interval, factor)})"
        if value.verdict is State.UNEVEN_WORK:
            words += ": explained by uneven request sizes, not the server"
    return Finding(
        label=_LABELS[value.verdict],
        tone=value.verdict.tone,
        words=words,
        metric=metric,
        traffic_class=traffic_class,
        numbers=numbers,
    )


def _of_other_classes(summary: Summary) -> Iterator[Finding]:
    """The states of the classes that the run's verdict is not about, one finding each."""
    classes = dict.fromkeys(name for metric in JUDGED for name in summary.metrics.get(metric, {}))
    others = [name for name in classes if name not in (ALL, summary.verdict_class)]
    if summary.verdict_class == ALL and len(others) == 1:
        return  # the same once more
    for name in others:
        by_state: dict[State, list[str]] = {}
        numbers: dict[str, float] = {}
        for metric in JUDGED:
            if (value := summary.metrics.get(metric, {}).get(name)) is not None:
                is_judged = value.verdict not in (State.TOO_FEW, State.NOT_STREAMED)
                shown = factor(value.tail[2]) if is_judged else f"({value.count})"
                by_state.setdefault(value.verdict, []).append(f"{metric} {shown}")
                numbers[f"{metric}_{'tail_ratio' if is_judged else 'samples'}"] = (
                    value.tail[2] if is_judged else value.count
                )
        words = "; ".join(f"{state} {', '.join(by_state[state])}" for state in _BY_WEIGHT if state in by_state)
        tone = Tone.BAD if State.FLAGGED in by_state else Tone.PLAIN
        yield Finding(label=Label.CLASS, tone=tone, words=f"{name}: {words}", traffic_class=name, numbers=numbers)


def _causes(summary: Summary, attribution: Attribution, suspects: Iterable[str]) -> list[Finding]:
    """Why: the suspects' causes that stand out, those of the worst other class, the moments without progress, and what
    to do about each cause.
    """
    found: list[Finding] = []
    named: list[Cause] = []
    worst = attribution.worst_class
    flagged = [
        metric
        for metric in JUDGED
        if worst is not None
        and (value := summary.metrics.get(metric, {}).get(worst)) is not None
        and value.verdict is State.FLAGGED
    ]
    for name, metrics, by_metric in (
        (summary.verdict_class, suspects, attribution.causes),
        (worst or ALL, flagged, attribution.worst_causes),
    ):
        for metric in waits_of(metrics):
            if (causes := by_metric.get(metric)) is not None:
                found += _causes_of(metric, causes, name)
                named += causes.likely
    stalls = [stall for stall in attribution.stalls if stall.cause in _TOLD_STALLS]
    found += [_stall(stall) for stall in stalls[:_MOST_STALLS]]
    if (num_more := len(stalls) - _MOST_STALLS) > 0:
        words = f"{num_more} more in summary.json"
        found.append(Finding(label=Label.STALL, tone=Tone.WHY, words=words, numbers={"stalls": num_more}))
    for cause in dict.fromkeys(named):
        found.append(Finding(label=Label.ADVICE, tone=Tone.WHY, words=advice_on(cause), cause=cause))
    return found


def _causes_of(metric: str, causes: TailCauses, traffic_class: str) -> Iterator[Finding]:
    waits = f"{causes.events} slow {'gaps' if metric == 'itl' else 'first tokens'}"
    waits += "" if traffic_class == ALL else f" in class {traffic_class}"
    slow = f"{waits} (>{milliseconds(causes.threshold_ms)} ms)"
    of_all: dict[str, float] = {"events": causes.events, "threshold_ms": causes.threshold_ms}
    for share in causes.causes:
        if share.cause in causes.likely:
            yield Finding(
                label=Label.CAUSE,
                tone=Tone.WHY,
                words=f"{share.cause} explains {share.share:.0%} of {slow}, {share.base_rate:.0%} by chance",
                metric=metric,
                traffic_class=traffic_class,
                cause=share.cause,
                numbers={**of_all, "share": share.share, "base_rate": share.base_rate},
            )
    if not causes.likely:
        words = f"unknown: no single cause stands out among {slow}"
        yield Finding(
            label=Label.CAUSE,
            tone=Tone.WHY,
            words=words,
            metric=metric,
            traffic_class=traffic_class,
            cause=Cause.UNKNOWN,
            numbers=of_all,
        )


def _stall(stall: Stall) -> Finding:
    words = stall_in_words(stall)
    if stall.server is not None and (said := stall_facts(stall.server)):
        words += f"; {said}"
    return Finding(
        label=Label.STALL,
        tone=Tone.WHY,
        words=words,
        cause=stall.cause,
        numbers={
            "start_s": stall.start_s,
            "length_s": stall.length_s,
            "streams": stall.streams,
            "waiting": stall.waiting,
        },
    )
