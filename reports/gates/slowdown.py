"""Judging slowdowns: percentiles of latencies over those of the idle server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ...workloads.traffic_classes import listed_classes
from ..formatting import interval_in_words, significant
from ..recording.recorder import OF_STREAMS
from ..run.measurement import Measurement
from ..statistics.exceedances import Exceedances
from ..statistics.interval import Interval
from ..statistics.log_buckets import quantile_us
from ..summary.answers import streaming_doubt, unknown_sizes, why_answers_differ
from ..summary.doubts import doubt_of_metric, doubts
from ..summary.finding import Finding
from ..summary.slowdown import SlowdownSummary
from ..summary.summary import Summary, share_unknown
from .against import judge_values, problems_of_pair
from .latency import refuse_lower_bound, refuse_unless_decided
from .rule import Rule
from .undecided import UndecidedError


def judge_slowdown(rule: Rule, run: Measurement) -> tuple[bool, str]:
    """Whether a rule about a slowdown holds of a run, and why.

    Raises:
        UndecidedError: it can be judged neither way.
    """
    measured = _measured(rule, run.summary, "", doubts(run.summary))
    value = _value(rule, run, measured)
    holds, reason = rule.holds(value, rule.bound.value()), f"measured {significant(value)} times the idle server's"
    is_random = rule.comparison != "==" and not run.summary.simulated
    interval, needed = _interval(rule, run, measured) if is_random else (None, None)
    if interval is not None:
        reason += f"; {interval_in_words(interval)}"
    refuse_lower_bound(rule, holds, reason, run.summary)
    if holds and not rule.holds(_worst(rule, run, value), rule.bound.value()):
        raise UndecidedError(f"{reason}, and above the bound if the requests that were cut off had never ended")
    if is_random:
        refuse_unless_decided(rule, holds, interval, needed, reason, is_all_there=run.has_results)
    return holds, reason


def judge_slowdown_against(rule: Rule, run: Measurement, baseline: Measurement) -> tuple[bool, str]:
    """Whether a rule about a slowdown and the baseline's holds, and why.

    Raises:
        UndecidedError: it can be judged neither way.
    """
    problems_of = problems_of_pair(run, baseline)
    base_value, value = (
        _value(rule, one, _measured(rule, one.summary, where, problems_of(one.summary)))
        for one, where in ((baseline, "the baseline: "), (run, ""))
    )
    if (why_not := why_answers_differ(baseline.summary, run.summary)) is not None:
        raise UndecidedError(f"no slowdowns of the baseline and this run can be compared: {why_not}")
    shown = f"measured {significant(value)}, baseline {significant(base_value)} times the idle server's"
    return judge_values(
        rule,
        (run, value),
        (baseline, base_value),
        shown,
        lambda one: one.slowdown_blocks(rule.metric, rule.traffic_class),
        rule.statistic.of_distribution,
    )


def _measured(rule: Rule, summary: Summary, where: str, problems: Sequence[Finding]) -> SlowdownSummary:
    """What the rule is about, if that can be judged at all. `problems`: what speaks against it."""
    if summary.idle is None or not summary.idle.is_probed:
        raise UndecidedError(f"{where}the run has no idle probe (--idle-probe), so what the work takes is not known")
    if rule.metric in OF_STREAMS and (doubt := streaming_doubt(summary, rule.traffic_class)) is not None:
        raise UndecidedError(where + doubt.first_sentence)
    by_class = summary.slowdown.get(rule.metric, {})
    measured = by_class.get(rule.traffic_class)
    if measured is None:
        no_classes = ": the server does not say how long answers are"
        known = f"; classes are {listed_classes(by_class)}" if by_class else no_classes
        raise UndecidedError(f"{where}there is no slowdown of {rule.metric} of class {rule.traffic_class!r}{known}")
    if problems:
        raise UndecidedError(where + problems[0].first_sentence)
    if (unknown := unknown_sizes(summary)) is not None:
        raise UndecidedError(where + unknown)
    if (problem := doubt_of_metric(summary, rule.metric, rule.traffic_class)) is not None:
        raise UndecidedError(where + problem.words)
    if measured.count < (needed := rule.statistic.min_samples):
        raise UndecidedError(f"{where}{measured.count:,} samples; this rule needs {needed:,}")
    return measured


def _value(rule: Rule, run: Measurement, measured: SlowdownSummary) -> float:
    known: float | None = getattr(measured, rule.statistic.name, None)
    if known is not None:
        return known
    assert rule.statistic.share is not None
    found = _quantile(rule, run, rule.statistic.share)
    if found is None:
        raise UndecidedError(f"{rule.statistic.name} is not in the summary, and the results are not there")
    return found


def _worst(rule: Rule, run: Measurement, value: float) -> float:
    """The value if no request that was cut off had ever ended: so many more lie above it."""
    assert rule.statistic.share is not None
    unknown = share_unknown(run.summary)
    return (_quantile(rule, run, min(rule.statistic.share + unknown, 1.0)) or value) if unknown else value


def _quantile(rule: Rule, run: Measurement, share: float) -> float | None:
    """None where only the summary is there."""
    together: Counter[int] = Counter()
    for block in _blocks(rule, run):
        together.update(block)
    return quantile_us(together, share) / 1e3 if together else None


def _interval(rule: Rule, run: Measurement, measured: SlowdownSummary) -> tuple[Interval | None, int | None]:
    """At 95%, None where there is none; and how many samples would give it an upper end, if it has none."""
    known: Interval | None = getattr(measured, f"{rule.statistic.name}_interval", None)
    if known is not None and not known.is_open:
        return known, None
    estimate = rule.statistic.estimate(Exceedances(_blocks(rule, run)))
    if estimate is None:
        return known, None
    return estimate.interval_ms, estimate.samples_needed  # of thousandths, as milliseconds are of microseconds


def _blocks(rule: Rule, run: Measurement) -> list[Counter[int]]:
    if not run.has_results:
        return []
    return [block for one in run.slowdown_blocks(rule.metric, rule.traffic_class) for block in one.blocks()]
