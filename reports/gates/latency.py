"""Judging latencies: percentiles, means and ratios of them, by their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...workloads.traffic_classes import listed_classes
from ..formatting import counted, interval_in_words, samples_needed, significant
from ..recording.recorder import OF_STREAMS, TTFA
from ..run.measurement import Measurement
from ..statistics.distribution import OfDistribution, RatioOf
from ..statistics.exceedances import Exceedances
from ..statistics.interval import Interval
from ..statistics.percentile import value_at
from ..statistics.percentile_estimate import fewest_samples, ratio_interval
from ..summary.answers import streaming_doubt, unknown_sizes, why_answers_differ
from ..summary.doubts import doubt_of_metric, doubts, lag_of_client_ms
from ..summary.finding import Finding
from ..summary.metric import MetricSummary
from ..summary.statistic import P99, Statistic
from ..summary.summary import MAX_SHARE_NOT_STREAMED, Summary
from .against import judge_values, problems_of_pair, share_of_bounds
from .rule import Rule
from .undecided import UndecidedError

_IN_SUMMARY = {
    ("p50", None): "p50_interval_ms",
    ("p99", None): "p99_interval_ms",
    ("p99", "p50"): "tail_ratio_interval",
}
"""Intervals that every summary has, by statistic and divisor."""
_SHORT_GATES = 0.95
"""The percentile that a gate of a few minutes can judge."""


def judge_latency(rule: Rule, run: Measurement) -> tuple[bool, str]:
    """Whether a rule holds of a run, and why.

    Raises:
        UndecidedError: it can be judged neither way.
    """
    summary, measured = run.summary, _measured(rule, run.summary, "", doubts(run.summary))
    values = [_value_ms(statistic, rule, run, measured) for statistic in _statistics(rule)]
    value, shown = values[0], f"{significant(values[0])} ms"
    if rule.divisor is not None:
        if values[1] == 0:
            raise UndecidedError(f"{rule.divisor.name} is 0")
        value, both = values[0] / values[1], " / ".join(map(significant, values))
        shown = f"{significant(value)} ({both} ms)"
    holds, reason = rule.holds(value, rule.bound.value()), f"measured {shown}"
    has_interval = all(statistic.has_interval for statistic in _statistics(rule)) and not summary.simulated
    interval, needed = _interval(rule, run, measured) if has_interval else (None, None)
    if interval is not None and share_of_bounds(rule, summary) > rule.statistic.tail_share:
        interval = Interval(interval.low)  # lower bounds say nothing of how high it may be
    if interval is not None:
        reason += f"; {interval_in_words(interval, unit='' if rule.divisor else ' ms')}"
    refuse_lower_bound(rule, holds, reason, summary)
    if not rule.holds(_worst(rule, run, measured, value), rule.bound.value()) and holds:
        unended = counted(measured.cut_off, "request")
        which = (
            "without an answer token had never had one" if rule.metric == TTFA else "that were cut off had never ended"
        )
        raise UndecidedError(f"{reason}, and above the bound if the {unended} {which}")
    problem = doubt_of_metric(summary, rule.metric, rule.traffic_class)
    if problem is not None and not _stands_in_spite_of_lag(rule, value, summary):
        raise UndecidedError(problem.words)
    if rule.comparison != "==" and has_interval:
        refuse_unless_decided(rule, holds, interval, needed, reason, is_all_there=run.has_results)
    return holds, reason


def refuse_lower_bound(rule: Rule, holds: bool, reason: str, summary: Summary) -> None:
    """Raise `UndecidedError` if so many requests were cut off that the value may be larger, and that would matter."""
    unknown = share_of_bounds(rule, summary)
    if unknown > rule.statistic.tail_share and holds is not rule.holds_if_larger:
        raise UndecidedError(f"{reason}, or more: only a lower bound is known for {unknown:.1%} of the requests")


def refuse_unless_decided(
    rule: Rule, holds: bool, interval: Interval | None, needed: int | None, reason: str, *, is_all_there: bool
) -> None:
    """Raise `UndecidedError` if the true value may as well lie on the other side of the bound.

    Args:
        rule: With an absolute bound.
        holds: Whether the measured value meets it.
        interval: Of the value; None where there is none.
        needed: Samples that would give the interval an upper end, if it has none.
        reason: What was measured, in words.
        is_all_there: The results are there, and not only a summary.
    """
    if interval is None:
        if is_all_there:
            raise UndecidedError(f"{reason}; too little data for a confidence interval: run longer")
        return
    bound = rule.bound.value()
    if {rule.holds(interval.low, bound), rule.holds(interval.high, bound)} == {holds}:
        return
    if interval.is_open:
        raise UndecidedError(f"{reason}, no upper end: {_what_it_takes(rule, needed)}")
    raise UndecidedError(f"{reason} spans the bound: run longer")


def _what_it_takes(rule: Rule, needed: int | None) -> str:
    """How long to run, and what is decided sooner."""
    share = rule.statistic.share
    if needed is None:
        return "run longer"
    if share is None or share <= _SHORT_GATES:
        return f"{samples_needed(needed)} needed"
    of_p95 = math.ceil(needed * fewest_samples(_SHORT_GATES) / fewest_samples(share))
    return f"{samples_needed(needed)} needed; a rule on p95 takes {samples_needed(of_p95)}"


def judge_latency_against(rule: Rule, run: Measurement, baseline: Measurement) -> tuple[bool, str]:
    """Whether a rule about a baseline holds, and why.

    Raises:
        UndecidedError: it can be judged neither way.
    """
    problems_of = problems_of_pair(run, baseline)
    measured, base = (
        _measured(rule, one.summary, where, problems_of(one.summary))
        for one, where in ((run, ""), (baseline, "the baseline: "))
    )
    for one, where in ((run, ""), (baseline, "the baseline: ")):
        if (problem := doubt_of_metric(one.summary, rule.metric, rule.traffic_class)) is not None:
            raise UndecidedError(where + problem.words)
    if (why_not := why_answers_differ(baseline.summary, run.summary)) is not None:
        raise UndecidedError(f"no latencies of the baseline and this run can be compared: {why_not}")
    values, base_values = (
        [_value_ms(statistic, rule, one, of) for statistic in _statistics(rule)]
        for one, of in ((run, measured), (baseline, base))
    )
    value, base_value = (math.prod([one[0], *(1 / other for other in one[1:])]) for one in (values, base_values))
    unit = "" if rule.divisor else " ms"
    shown = f"measured {significant(value)}{unit}, baseline {significant(base_value)}{unit}"
    return judge_values(
        rule,
        (run, value),
        (baseline, base_value),
        shown,
        lambda one: one.time_blocks(rule.metric, rule.traffic_class),
        _of_distribution(rule),
    )


def _worst(rule: Rule, run: Measurement, measured: MetricSummary, value: float) -> float:
    """The value if no request that was cut off had ever ended: the percentile of the others by rank, or infinity."""
    histogram, share = run.histogram(rule.metric, rule.traffic_class), rule.statistic.share
    if not measured.cut_off or share is None or histogram is None:
        return value
    # Lower bounds may lie below the rank, so it moves up by as many: never too low.
    worst_share = share + measured.cut_off / measured.count
    if worst_share >= 1:
        return math.inf
    usual_us = value_at(histogram, 100 * share)
    return value * max(1.0, value_at(histogram, 100 * worst_share) / max(usual_us, 1))


def _of_distribution(rule: Rule) -> OfDistribution:
    if rule.divisor is None:
        return rule.statistic.of_distribution
    return RatioOf(rule.statistic.of_distribution, rule.divisor.of_distribution)


def _measured(rule: Rule, summary: Summary, where: str, problems: Sequence[Finding]) -> MetricSummary:
    """What the rule is about, if that can be judged at all. `problems`: what speaks against it."""
    by_class = summary.metrics.get(rule.metric, {})
    measured = by_class.get(rule.traffic_class)
    if measured is None and by_class:
        known = listed_classes(by_class)
        raise UndecidedError(f"{where}there is no {rule.metric} of class {rule.traffic_class!r}; classes are {known}")
    if problems:
        raise UndecidedError(where + problems[0].first_sentence)
    if (doubt := _streaming_doubt(rule, summary)) is not None:
        raise UndecidedError(where + doubt.first_sentence)
    if measured is None:
        what = "has reasoning, so that ttfa is ttft: judge that" if rule.metric == TTFA else f"has {rule.metric}"
        raise UndecidedError(f"{where}no request {what}")
    if rule.metric == "tpot" and (unknown := unknown_sizes(summary)) is not None:
        raise UndecidedError(where + unknown)
    needed = max(statistic.min_samples for statistic in _statistics(rule))
    if measured.count < needed:
        raise UndecidedError(f"{where}{measured.count:,} samples; this rule needs {needed:,}")
    return measured


def _streaming_doubt(rule: Rule, summary: Summary) -> Finding | None:
    """Why a rule on first tokens or gaps cannot be judged: answers came all at once. A few may decide a maximum."""
    if rule.metric not in OF_STREAMS:
        return None
    shares = [statistic.tail_share for statistic in _statistics(rule) if statistic.name != "mean"]
    return streaming_doubt(summary, rule.traffic_class, min([MAX_SHARE_NOT_STREAMED, *shares]))


def _value_ms(statistic: Statistic, rule: Rule, run: Measurement, measured: MetricSummary) -> float:
    value_ms = statistic.of(measured)
    if value_ms is None:
        value_ms = statistic.of(measured, run.histogram(rule.metric, rule.traffic_class))
    if value_ms is None:
        raise UndecidedError(f"{statistic.name} is not in the summary, and the histograms are not there")
    return value_ms


def _interval(rule: Rule, run: Measurement, measured: MetricSummary) -> tuple[Interval | None, int | None]:
    """At 95%, None where there is none; and how many samples would give it an upper end, if it has none."""
    statistics = _statistics(rule)
    names = [statistic.name for statistic in statistics]
    if (field := _IN_SUMMARY.get((names[0], names[1] if rule.divisor else None))) is not None:
        known: Interval | None = getattr(measured, field)
        if known is not None:
            return known, measured.p99_samples_needed if rule.statistic == P99 else None
    if not run.has_results:
        return None, None
    blocks = [block for one in run.time_blocks(rule.metric, rule.traffic_class) for block in one.blocks()]
    exceedances = Exceedances(blocks)
    estimates = [statistic.estimate(exceedances) for statistic in statistics]
    found = [estimate for estimate in estimates if estimate is not None]
    if len(found) < len(statistics):
        return None, None
    needed = max((estimate.samples_needed or 0 for estimate in found), default=0) or None
    return (found[0].interval_ms if rule.divisor is None else ratio_interval(exceedances, *found)), needed


def _statistics(rule: Rule) -> list[Statistic]:
    return [rule.statistic] if rule.divisor is None else [rule.statistic, rule.divisor]


def _stands_in_spite_of_lag(rule: Rule, value: float, summary: Summary) -> bool:
    """Lag of the client only adds to latencies: what is low enough with it is, what fails by more than it fails."""
    if rule.divisor is not None or rule.comparison not in ("<", "<=") or summary.client is None:
        return False
    bound, lag_ms = rule.bound.value(), lag_of_client_ms(summary, rule.metric, rule.traffic_class)
    return rule.holds(value, bound) or not rule.holds(value - lag_ms, bound)
