"""Judging runs by rules: pass, fail, or inconclusive, with the interval that decided it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from ..comparison.change import Change, changes, rate_change
from ..comparison.comparable import is_paired, why_incomparable
from ..formatting import CI, interval_in_words, significant
from ..run.measurement import Measurement
from ..statistics.bootstrap import OfResample, intervals
from ..statistics.interval import CONFIDENCE, Interval
from ..statistics.proportion import difference_interval, needed_for_none, share_interval
from ..summary.answers import why_answers_differ
from ..summary.doubts import client_problems, doubt_of_metric, doubts, share_timed_out_here
from ..summary.errors import unknown_in_words
from ..summary.finding import Tone
from ..summary.metric import MetricSummary
from ..summary.statistic import Statistic
from ..summary.summary import Summary, share_unknown
from .rule import RUN_VALUES, Kind, Rule

_IN_SUMMARY = {
    ("p50", None): "p50_interval_ms",
    ("p99", None): "p99_interval_ms",
    ("p99", "p50"): "tail_ratio_interval",
}
"""Intervals that every summary has, by statistic and divisor."""


class Outcome(StrEnum):
    """What became of a rule. INCONCLUSIVE is never a pass."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"

    @property
    def tone(self) -> Tone:
        """How a reader should take it."""
        return _TONES[self]


_TONES = {Outcome.PASS: Tone.GOOD, Outcome.FAIL: Tone.BAD, Outcome.INCONCLUSIVE: Tone.CAUTION}


@dataclass(frozen=True, slots=True)
class Judgement:
    """A rule, what became of it, and why in one line."""

    rule: str
    outcome: Outcome
    reason: str

    @property
    def label(self) -> str:
        """`PASS`, `FAIL` or `INCONCLUSIVE`."""
        return self.outcome.upper()

    @property
    def tone(self) -> Tone:
        """How a reader should take it."""
        return self.outcome.tone

    @property
    def words(self) -> str:
        """The rule and the reason."""
        return f"{self.rule}: {self.reason}"


class _UndecidedError(Exception):
    """The rule can be judged neither way; the text says why."""


def judge(rule: Rule, run: Measurement, baseline: Measurement | None = None) -> Judgement:
    """Judge a run by a rule, against a baseline if the rule asks for one.

    Raises:
        ConfigurationError: a run folder is damaged.
    """
    try:
        for one in (run, baseline) if baseline is not None and rule.needs_baseline else (run,):
            if one.summary.succeeded == 0:
                raise _UndecidedError("no request succeeded" + (" in the baseline" if one is baseline else ""))
        if not rule.needs_baseline:
            outcome, reason = _run_value(rule, run.summary) if rule.run_value else _latency(rule, run)
        elif baseline is None:
            raise _UndecidedError("there is no baseline to compare with: give --baseline RUN")
        elif (why_not := why_incomparable((baseline.summary, "the baseline"), (run.summary, "this run"))) is not None:
            raise _UndecidedError(why_not)
        elif rule.run_value:
            outcome, reason = _run_value_against(rule, rule.run_value, run, baseline)
        else:
            outcome, reason = _latency_against(rule, run, baseline)
    except _UndecidedError as undecided:
        outcome, reason = Outcome.INCONCLUSIVE, str(undecided)
    return Judgement(rule.text, outcome, reason)


def judge_all(rules: Iterable[Rule], run: Measurement, baseline: Measurement | None = None) -> list[Judgement]:
    """Judge a run by several rules.

    Raises:
        ConfigurationError: a run folder is damaged.
    """
    return [judge(rule, run, baseline) for rule in rules]


def _latency(rule: Rule, run: Measurement) -> tuple[Outcome, str]:
    measured = _measured(rule, run.summary)
    values = [_value_ms(statistic, rule, run, measured) for statistic in _statistics(rule)]
    value, shown = values[0], f"{significant(values[0])} ms"
    if rule.divisor is not None:
        if values[1] == 0:
            raise _UndecidedError(f"{rule.divisor.name} is 0")
        value, both = values[0] / values[1], " / ".join(map(significant, values))
        shown = f"{significant(value)} ({both} ms)"
    bound = rule.bound.value()
    outcome = _outcome(rule, value, bound)
    interval = _interval(rule, run, measured)
    reason = f"measured {shown}"
    if interval is not None:
        reason += f"; {interval_in_words(interval, unit='' if rule.divisor else ' ms')}"
    unknown = share_unknown(run.summary)
    if _may_be_larger(rule, run.summary) and outcome is not _if_larger(rule):
        raise _UndecidedError(f"{reason}, or more: only a lower bound is known for {unknown:.1%} of the requests")
    problem = doubt_of_metric(run.summary, rule.metric, rule.traffic_class)
    if problem is not None and not _stands_in_spite_of_lag(rule, outcome, value, run.summary):
        raise _UndecidedError(problem.words)
    has_interval = all(statistic.has_interval for statistic in _statistics(rule)) and rule.comparison != "=="
    if has_interval and interval is None and run.has_results:
        raise _UndecidedError(f"{reason}; too little data for a confidence interval: run longer")
    # Neither a pass nor a failure, if the true value may as well lie on the other side of the bound.
    if interval is not None and has_interval:
        ends = {_outcome(rule, interval.low, bound), _outcome(rule, interval.high, bound)}
        if ends != {outcome}:
            raise _UndecidedError(f"{reason} spans the bound: run longer")
    return outcome, reason


def _latency_against(rule: Rule, run: Measurement, baseline: Measurement) -> tuple[Outcome, str]:
    measured, base = _measured(rule, run.summary), _measured(rule, baseline.summary, "the baseline: ")
    for one, where in ((run, ""), (baseline, "the baseline: ")):
        if (problem := doubt_of_metric(one.summary, rule.metric, rule.traffic_class)) is not None:
            raise _UndecidedError(where + problem.words)
    if (why_not := why_answers_differ(baseline.summary, run.summary)) is not None:
        raise _UndecidedError(f"no latencies of the baseline and this run can be compared: {why_not}")
    _refuse_summaries(run, baseline)
    (change,) = changes(
        baseline.time_blocks(rule.metric, rule.traffic_class),
        run.time_blocks(rule.metric, rule.traffic_class),
        (_of_resample(rule),),
        is_paired=is_paired(baseline, run),
    )
    values, base_values = (
        [_value_ms(statistic, rule, one, of) for statistic in _statistics(rule)]
        for one, of in ((run, measured), (baseline, base))
    )
    value, base_value = (math.prod([one[0], *(1 / other for other in one[1:])]) for one in (values, base_values))
    unit = "" if rule.divisor else " ms"
    return _against(
        rule,
        change,
        base_value,
        f"measured {significant(value)}{unit}, baseline {significant(base_value)}{unit}",
        is_cut=_may_be_larger(rule, run.summary),
        is_base_cut=_may_be_larger(rule, baseline.summary),
    )


def _against(
    rule: Rule,
    change: Change | None,
    base_value: float,
    shown: str,
    *,
    is_cut: bool = False,
    is_base_cut: bool = False,
) -> tuple[Outcome, str]:
    """Judge by the quotient of the two. `is_cut`: it may be larger than measured, as some requests never ended."""
    if change is None or base_value == 0:
        raise _UndecidedError(f"{shown}; too little data to compare: run both longer")
    interval = change.interval(CONFIDENCE)
    span = interval_in_words(interval, _percent)
    restless = " (parts of the run differ by more than chance)" if change.is_restless else ""
    reason = f"{shown}; changed by {_percent(change.ratio)}{restless}, {span}"
    bound = rule.bound.factor + rule.bound.plus / base_value
    ends = {_outcome(rule, interval.low, bound), _outcome(rule, interval.high, bound)}
    if len(ends) > 1:
        raise _UndecidedError(f"{reason} spans the bound: run both longer")
    (outcome,) = ends
    if (is_cut and outcome is not _if_larger(rule)) or (is_base_cut and outcome is _if_larger(rule)):
        raise _UndecidedError(f"{reason}, but only a lower bound is known for too many requests")
    return outcome, reason


def _may_be_larger(rule: Rule, summary: Summary) -> bool:
    """Whether so many requests were cut off that the value is a lower bound."""
    return share_unknown(summary) > rule.statistic.tail_share


def _if_larger(rule: Rule) -> Outcome:
    """What a rule comes to if its value is arbitrarily larger."""
    return Outcome.FAIL if rule.comparison in ("<", "<=", "==") else Outcome.PASS


def _refuse_summaries(run: Measurement, baseline: Measurement) -> None:
    for one, name in ((run, "this run"), (baseline, "the baseline")):
        if not one.has_results:
            raise _UndecidedError(f"only the summary of {name} is there: a comparison needs its results.jsonl too")


def _run_value(rule: Rule, summary: Summary) -> tuple[Outcome, str]:
    """Shares are judged by their interval; rates and counts as facts about this run."""
    assert rule.run_value is not None
    about = RUN_VALUES[rule.run_value]
    value, is_share = about.read(summary), about.kind is Kind.SHARE
    if math.isnan(value):
        raise _UndecidedError("the run had no --goodput objectives")
    reason = f"measured {value:.3%}" if is_share else f"measured {value:g}"
    reference = 0.0
    if rule.bound.of is not None:
        reference = RUN_VALUES[rule.bound.of].read(summary)
        reason += f", {value / reference:.1%} of the {reference:g} offered" if reference else ", and none was offered"
    bound = rule.bound.value(reference)
    outcome = _outcome(rule, value, bound)
    problems = client_problems(summary) if rule.run_value in _MADE_WORSE_BY_THE_CLIENT else []
    if problems and outcome is Outcome.FAIL:
        raise _UndecidedError(f"{reason}, but {problems[0].words}")
    here = share_timed_out_here(summary) if rule.run_value == "errors" else 0.0
    if _outcome(rule, value - here, bound) is not outcome:
        raise _UndecidedError(f"{reason}, but {here:.1%} timed out while the client itself was behind")
    if is_share and rule.comparison != "==":
        return _share(rule, summary, value, reason)
    return outcome, reason


def _share(rule: Rule, summary: Summary, value: float, reason: str) -> tuple[Outcome, str]:
    """Inconclusive if more requests, or the ones that never ended, might change the outcome."""
    interval, bound, unknown = share_interval(value, summary.requests), rule.bound.value(), share_unknown(summary)
    reason += f"; {interval_in_words(interval, '{:.3%}'.format)}"
    outcomes = {_outcome(rule, end, bound) for end in (interval.low, value, interval.high)}
    if outcomes == {_outcome(rule, value, bound)}:
        if {_outcome(rule, min(interval.high + unknown, 1.0), bound)} != outcomes:
            raise _UndecidedError(f"{reason}, but {unknown_in_words(summary)}")
        return outcomes.pop(), reason
    if value == 0 and bound > 0:
        needed = needed_for_none(bound)
        raise _UndecidedError(
            f"{reason} spans the bound: {summary.requests:,} requests are too few, {needed:,} are enough"
        )
    raise _UndecidedError(f"{reason} spans the bound: run longer")


def _run_value_against(rule: Rule, name: str, run: Measurement, baseline: Measurement) -> tuple[Outcome, str]:
    about = RUN_VALUES[name]
    value, base = about.read(run.summary), about.read(baseline.summary)
    if math.isnan(value) or math.isnan(base):
        raise _UndecidedError("one of the runs had no --goodput objectives")
    if name in _MADE_WORSE_BY_THE_CLIENT:
        for one, where in ((run, ""), (baseline, "the baseline: ")):
            if problems := client_problems(one.summary):
                raise _UndecidedError(where + problems[0].words)
    if about.kind is not Kind.SHARE:
        _refuse_summaries(run, baseline)
        rates = [one.rates(of_tokens=name == "output_tokens_per_s") for one in (baseline, run)]
        change = rate_change(rates[0], rates[1], is_paired=is_paired(baseline, run))
        return _against(rule, change, base, f"measured {value:g}, baseline {base:g}")
    interval = difference_interval(value, run.summary.requests, base, baseline.summary.requests)
    # What never ended may have failed, or met its objectives; what timed out may be the client's fault.
    here, there = (share_timed_out_here(one.summary) if name == "errors" else 0.0 for one in (run, baseline))
    low = interval.low - share_unknown(baseline.summary) - here
    high = interval.high + share_unknown(run.summary) + there
    bound = (rule.bound.factor - 1) * base + rule.bound.plus
    points = f"{CI} of the difference {low * 100:+.2f} to {high * 100:+.2f} points"
    reason = f"measured {value:.3%}, baseline {base:.3%}; {points}"
    ends = {_outcome(rule, low, bound), _outcome(rule, high, bound)}
    if len(ends) > 1:
        raise _UndecidedError(f"{reason} spans the bound: run both longer")
    return ends.pop(), reason


_MADE_WORSE_BY_THE_CLIENT = ("goodput", "achieved_rate", "output_tokens_per_s")


def _of_resample(rule: Rule) -> OfResample:
    statistic, divisor = rule.statistic, rule.divisor
    if divisor is None:
        return statistic.of_resample
    return lambda resample: statistic.of_resample(resample) / divisor.of_resample(resample)


def _measured(rule: Rule, summary: Summary, where: str = "") -> MetricSummary:
    """What the rule is about, if that can be judged at all."""
    by_class = summary.metrics.get(rule.metric, {})
    measured = by_class.get(rule.traffic_class)
    if measured is None:
        known = f"; classes are {', '.join(by_class)}" if by_class else ""
        raise _UndecidedError(f"{where}there is no {rule.metric} of class {rule.traffic_class!r}{known}")
    if problems := doubts(summary):
        raise _UndecidedError(where + problems[0].words)
    needed = max(statistic.min_samples for statistic in _statistics(rule))
    if measured.count < needed:
        raise _UndecidedError(f"{where}{measured.count:,} samples; this rule needs {needed:,}")
    return measured


def _value_ms(statistic: Statistic, rule: Rule, run: Measurement, measured: MetricSummary) -> float:
    value_ms = statistic.of(measured)
    if value_ms is None:
        value_ms = statistic.of(measured, run.histogram(rule.metric, rule.traffic_class))
    if value_ms is None:
        raise _UndecidedError(f"{statistic.name} is not in the summary, and the histograms are not there")
    return value_ms


def _interval(rule: Rule, run: Measurement, measured: MetricSummary) -> Interval | None:
    """At 95%, by a block bootstrap over time; None where there is none."""
    names = [statistic.name for statistic in _statistics(rule)]
    if (field := _IN_SUMMARY.get((names[0], names[1] if len(names) > 1 else None))) is not None:
        known: Interval | None = getattr(measured, field)
        if known is not None:
            return known
    if not run.has_results or not all(statistic.has_interval for statistic in _statistics(rule)):
        return None
    blocks = [block for one in run.time_blocks(rule.metric, rule.traffic_class) for block in one.blocks()]
    found = intervals(blocks, (_of_resample(rule),))
    return None if found is None else found[0]


def _statistics(rule: Rule) -> list[Statistic]:
    return [rule.statistic] if rule.divisor is None else [rule.statistic, rule.divisor]


def _outcome(rule: Rule, value: float, bound: float) -> Outcome:
    return Outcome.PASS if rule.holds(value, bound) else Outcome.FAIL


def _stands_in_spite_of_lag(rule: Rule, outcome: Outcome, value: float, summary: Summary) -> bool:
    """Lag of the client only adds to latencies: what is low enough with it is, what fails by more than it fails."""
    if rule.divisor is not None or rule.comparison not in ("<", "<=") or summary.client is None:
        return False
    return outcome is Outcome.PASS or not rule.holds(value - summary.client.lag_p99_ms, rule.bound.value())


def _percent(ratio: float) -> str:
    return f"{ratio - 1:+.1%}"
