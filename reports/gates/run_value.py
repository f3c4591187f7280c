"""Judging values of whole runs: shares of requests, rates and counts."""

from __future__ import annotations

import math

from ..comparison.change import rate_change
from ..comparison.difference import THROUGHPUT
from ..comparison.same_traffic import is_paired
from ..formatting import interval_in_words, points
from ..run.measurement import Measurement
from ..statistics.interval import Interval
from ..statistics.proportion import difference_interval, needed_for_none, share_interval
from ..summary.doubts import client_problems, share_timed_out_here
from ..summary.errors import unknown_in_words
from ..summary.summary import Summary, independent_of_pair, share_unknown
from .against import are_exact, judge_change, refuse_summaries
from .rule import RUN_VALUES, Kind, Rule
from .undecided import UndecidedError

_TOGETHER = 0.5
"""With fewer independent requests than this share of all, failures came together, and the reason says so."""
_MADE_WORSE_BY_THE_CLIENT = ("goodput", "achieved_rate", "output_tokens_per_s")


def judge_run_value(rule: Rule, name: str, summary: Summary) -> tuple[bool, str]:
    """Whether a rule holds, and why. Shares are judged by their interval; rates and counts as facts about this run.

    Raises:
        UndecidedError: it can be judged neither way.
    """
    about = RUN_VALUES[name]
    value, is_share = about.read(summary), about.kind is Kind.SHARE
    if math.isnan(value):
        raise UndecidedError("the run had no --goodput objectives")
    reason = f"measured {value:.3%}" if is_share else f"measured {value:g}"
    reference = 0.0
    if rule.bound.of is not None:
        reference = RUN_VALUES[rule.bound.of].read(summary)
        reason += f", {value / reference:.1%} of the {reference:g} offered" if reference else ", and none was offered"
    bound = rule.bound.value(reference)
    holds = rule.holds(value, bound)
    problems = client_problems(summary) if name in _MADE_WORSE_BY_THE_CLIENT else []
    if problems and not holds:
        raise UndecidedError(f"{reason}, but {problems[0].words}")
    if name == THROUGHPUT:
        _refuse_unknown_tokens(rule, summary, reason, holds=holds)
    here = share_timed_out_here(summary) if name == "errors" else 0.0
    if rule.holds(value - here, bound) is not holds:
        raise UndecidedError(f"{reason}, but {here:.1%} timed out while the client itself was behind")
    if is_share and rule.comparison != "==":
        return _share(rule, name, summary, reason)
    return holds, reason


def _refuse_unknown_tokens(rule: Rule, summary: Summary, reason: str, *, holds: bool) -> None:
    """Raise `UndecidedError` if answers whose tokens are not known might decide otherwise: they only add to a rate."""
    if summary.share_without_tokens and (rule.comparison == "==" or holds is not rule.holds_if_larger):
        raise UndecidedError(f"{reason}, or more: {_without_tokens(summary)}")


def _without_tokens(summary: Summary) -> str:
    return f"the tokens of {summary.share_without_tokens:.1%} of the answers are not known"


def _share(rule: Rule, name: str, summary: Summary, reason: str) -> tuple[bool, str]:
    """Undecided if more requests, or the ones that never ended, might change the outcome.

    A rule passes by what other runs would have, and fails by this one: an outage may be the only one in a year, and has
    happened all the same.
    """
    value, bound, unknown = RUN_VALUES[name].read(summary), rule.bound.value(), share_unknown(summary)
    high, ends = value, {rule.holds(value, bound)}
    if not summary.simulated:
        independent = RUN_VALUES[name].independent(summary)
        interval = share_interval(value, summary.requests)
        if rule.holds(interval.low, bound) or rule.holds(interval.high, bound):
            interval = share_interval(value, independent)
            if independent < _TOGETHER * summary.requests:
                worth = f"{independent:,.0f}" if independent >= 1 else "less than one"
                reason += f"; in clusters, so {summary.requests:,} requests count as {worth}"
        reason += f"; {interval_in_words(interval, '{:.3%}'.format)}"
        high, ends = interval.high, ends | {rule.holds(interval.low, bound), rule.holds(interval.high, bound)}
    if len(ends) == 1:
        if rule.holds(min(high + unknown, 1.0), bound) not in ends:
            raise UndecidedError(f"{reason}, but {unknown_in_words(summary)}")
        return ends.pop(), reason
    if value == 0 and bound > 0:
        needed = needed_for_none(bound)
        raise UndecidedError(
            f"{reason} spans the bound: {summary.requests:,} requests are too few, {needed:,} are enough"
        )
    raise UndecidedError(f"{reason} spans the bound: run longer")


def judge_run_value_against(rule: Rule, name: str, run: Measurement, baseline: Measurement) -> tuple[bool, str]:
    """Whether a rule about a baseline holds, and why.

    Raises:
        UndecidedError: it can be judged neither way.
    """
    about = RUN_VALUES[name]
    value, base = about.read(run.summary), about.read(baseline.summary)
    if math.isnan(value) or math.isnan(base):
        raise UndecidedError("one of the runs had no --goodput objectives")
    if name in _MADE_WORSE_BY_THE_CLIENT:
        for one, where in ((run, ""), (baseline, "the baseline: ")):
            if problems := client_problems(one.summary):
                raise UndecidedError(where + problems[0].words)
            if name == THROUGHPUT and one.summary.share_without_tokens:
                raise UndecidedError(where + _without_tokens(one.summary))
    if about.kind is Kind.SHARE:
        return _share_against(rule, name, (value, run), (base, baseline))
    shown = f"measured {value:g}, baseline {base:g}"
    if are_exact(run, baseline) and base:
        return rule.holds(value, rule.bound.value(base)), shown
    refuse_summaries(run, baseline)
    rates = [one.rates(of_tokens=name == "output_tokens_per_s") for one in (baseline, run)]
    return judge_change(rule, rate_change(rates[0], rates[1], is_paired=is_paired(baseline, run)), base, shown)


def _share_against(
    rule: Rule, name: str, of_run: tuple[float, Measurement], of_baseline: tuple[float, Measurement]
) -> tuple[bool, str]:
    (value, run), (base, baseline) = of_run, of_baseline
    low = high = value - base
    reason = f"measured {value:.3%}, baseline {base:.3%}"
    if not are_exact(run, baseline):
        count, base_count = independent_of_pair(RUN_VALUES[name].independent, run.summary, baseline.summary)
        interval = difference_interval(value, count, base, base_count)
        low, high = interval.low, interval.high
    # What never ended may have failed, or met its objectives; what timed out may be the client's fault.
    here, there = (share_timed_out_here(one.summary) if name == "errors" else 0.0 for one in (run, baseline))
    low = low - share_unknown(baseline.summary) - here
    high = high + share_unknown(run.summary) + there
    if low < high:
        reason += f"; {points(Interval(low, high))}"
    bound = (rule.bound.factor - 1) * base + rule.bound.plus
    ends = {rule.holds(low, bound), rule.holds(high, bound)}
    if len(ends) > 1:
        raise UndecidedError(f"{reason} spans the bound: run both longer")
    return ends.pop(), reason
