"""Judging a change against a baseline by its interval."""

from __future__ import annotations

from collections.abc import Callable

from ..comparison.change import Change, Rounds, changes
from ..comparison.same_traffic import is_paired
from ..formatting import interval_in_words
from ..run.measurement import Measurement
from ..statistics.distribution import OfDistribution
from ..statistics.interval import CONFIDENCE
from ..summary.doubts import doubts, doubts_of_comparison
from ..summary.finding import Finding
from ..summary.summary import Summary, share_unknown
from .rule import Rule
from .undecided import UndecidedError


def judge_change(
    rule: Rule,
    change: Change | None,
    base_value: float,
    shown: str,
    *,
    is_cut: bool = False,
    is_base_cut: bool = False,
) -> tuple[bool, str]:
    """Whether a rule holds of the quotient of the two, and why.

    Args:
        rule: With a bound relative to the baseline.
        change: From the baseline to the run.
        base_value: Of the baseline.
        shown: Both values in words.
        is_cut: It may be larger than measured, as some requests never ended.
        is_base_cut: Likewise of the baseline.

    Raises:
        UndecidedError: more must be measured.
    """
    if change is None or base_value == 0:
        raise UndecidedError(f"{shown}; too little data to compare: run both longer")
    interval = change.interval(CONFIDENCE)
    restless = " (parts of the run differ by more than chance)" if change.is_restless else ""
    span = interval_in_words(interval, percent_changed)
    reason = f"{shown}; changed by {percent_changed(change.ratio)}{restless}, {span}"
    bound = rule.bound.factor + rule.bound.plus / base_value
    ends = {rule.holds(interval.low, bound), rule.holds(interval.high, bound)}
    if len(ends) > 1:
        raise UndecidedError(f"{reason} spans the bound: run both longer")
    (holds,) = ends
    if (is_cut and holds is not rule.holds_if_larger) or (is_base_cut and holds is rule.holds_if_larger):
        raise UndecidedError(f"{reason}, but only a lower bound is known for too many requests")
    return holds, reason


def judge_values(
    rule: Rule,
    run: tuple[Measurement, float],
    baseline: tuple[Measurement, float],
    shown: str,
    blocks_of: Callable[[Measurement], Rounds],
    statistic: OfDistribution,
) -> tuple[bool, str]:
    """Whether a rule holds of a run's value against the baseline's, and why.

    Args:
        rule: With a bound relative to the baseline.
        run: The run and its value.
        baseline: Likewise.
        shown: Both values in words.
        blocks_of: What the statistic is taken of, by time.
        statistic: The same as the values'.

    Raises:
        UndecidedError: it can be judged neither way.
    """
    (measured, value), (base, base_value) = run, baseline
    is_cut, is_base_cut = (share_of_bounds(rule, one.summary) > rule.statistic.tail_share for one in (measured, base))
    if are_exact(measured, base) and not is_cut and not is_base_cut:
        return rule.holds(value, rule.bound.value(base_value)), shown
    refuse_summaries(measured, base)
    (change,) = changes(blocks_of(base), blocks_of(measured), (statistic,), is_paired=is_paired(base, measured))
    holds, reason = judge_change(rule, change, base_value, shown, is_cut=is_cut, is_base_cut=is_base_cut)
    if rule.holds(value, rule.bound.value(base_value)) is not holds:  # see `_contradicts` in difference.py
        raise UndecidedError(f"{reason} from stretch to stretch, and the whole runs say otherwise: run both longer")
    return holds, reason


def problems_of_pair(run: Measurement, baseline: Measurement) -> Callable[[Summary], list[Finding]]:
    """What speaks against judging latencies of one of two runs against the other's.

    Growth all through a run is no reason not to compare it with another that had the same traffic for as long.
    """
    return doubts_of_comparison if is_paired(baseline, run) else doubts


def share_of_bounds(rule: Rule, summary: Summary) -> float:
    """Of how many requests only a lower bound is known: they were cut off, or never got to what the rule is about."""
    measured = summary.metrics.get(rule.metric, {}).get(rule.traffic_class)
    of_metric = 0.0 if measured is None else measured.cut_off / max(measured.count, 1)
    return max(share_unknown(summary), of_metric)


def refuse_summaries(run: Measurement, baseline: Measurement) -> None:
    """Raise `UndecidedError` unless both have their results."""
    for one, name in ((run, "this run"), (baseline, "the baseline")):
        if not one.has_results:
            raise UndecidedError(f"only the summary of {name} is there: a comparison needs its results.jsonl too")


def are_exact(run: Measurement, baseline: Measurement) -> bool:
    """Whether nothing about either is random: on a simulated device a number is what it is."""
    return run.summary.simulated and baseline.summary.simulated


def percent_changed(ratio: float) -> str:
    """`+3.2%`."""
    return f"{ratio - 1:+.1%}"
