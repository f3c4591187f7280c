"""Rules that a run cannot answer, found before it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from ...reports.formatting import counted
from ...reports.gates.rule import RUN_VALUES, Kind, Rule
from ...reports.recording.recorder import TTFA
from ...reports.statistics.proportion import share_interval
from ...reports.summary.state import samples_to_judge
from ...reports.summary.verdict import NOT_MISSED
from ...reports.traffic.schedule import due_turns
from ...workloads.traffic_classes import check_class
from ...workloads.workload import ALL
from ..measuring.plan import Plan
from ..measuring.traffic import Traffic
from .clock import lasting
from .drawing import metrics_of
from .forecast import Forecast
from .words import is_simulated

_LOOKED_AT = 100
"""Sessions of each stream, to know which metrics there are."""


def check_classes(rules: Iterable[Rule], traffic: Traffic) -> list[str]:
    """Notes on classes that may be in the trace farther on than it was read.

    Raises:
        ConfigurationError: a rule is about a class that the traffic does not have.
    """
    models = () if traffic.recipe.models is None else traffic.recipe.models.names
    workload = traffic.recipe.make().workload  # a trace counts the rows that are read of it
    return [
        f"rule {rule.text!r}: no class {rule.traffic_class} at the beginning of the trace; without one it will be "
        "inconclusive"
        for rule in rules
        if not check_class(workload, traffic.seed, rule.traffic_class, f"rule {rule.text!r}", models)
    ]


def rule_notes(
    rules: Sequence[Rule], forecast: Forecast, plan: Plan, rare_s: float | None = None, num_runs: int = 1
) -> list[str]:
    """Why rules will be inconclusive, whatever the run measures; as far as that is known before.

    Args:
        rules: Of classes that there are.
        forecast: Of one run.
        plan: Its plan.
        rare_s: What comes once in so many seconds must not be missed.
        num_runs: How many such runs are judged together.
    """
    found = [
        f"rule {rule.text!r} {why}" for rule in rules for why in islice(_why_not(rule, forecast, plan, num_runs), 1)
    ]
    duration_s = plan.traffic.limits.duration_s
    if rare_s is not None and rules and duration_s is not None and not is_simulated(plan):
        measured_s, needed_s = num_runs * (duration_s - plan.traffic.limits.warmup_s), NOT_MISSED * rare_s
        if measured_s < needed_s:
            found.append(f"no rule can pass: --rare {rare_s:g} takes {lasting(needed_s)} of measuring")
    return found


def _why_not(rule: Rule, forecast: Forecast, plan: Plan, num_runs: int) -> Iterator[str]:
    if rule.run_value is not None:
        yield from _why_no_value(rule, rule.run_value, forecast, plan, num_runs)
        return
    if rule.is_slowdown and not plan.idle_probe:
        yield "cannot be judged without an idle probe (--idle-probe)"
    key = rule.metric, rule.traffic_class
    name = rule.metric if rule.traffic_class == ALL else f"{rule.metric} in class {rule.traffic_class}"
    if rule.metric != TTFA and not _has(forecast, key):
        yield f"cannot be judged: this traffic has no {name}"
    if not forecast.is_counted or not forecast.is_whole or rule.metric == TTFA:
        return
    samples = num_runs * forecast.samples[key]
    needed = max(one.min_samples for one in (rule.statistic, rule.divisor) if one is not None)
    come = f"needs {counted(needed, 'sample')} of {name}, and about {samples:,} come"
    if samples < needed:
        yield f"{come}: it will be inconclusive"
    share = rule.statistic.share
    if share is None or rule.comparison not in ("<", "<=") or rule.needs_baseline or is_simulated(plan):
        return
    if samples < (needed := samples_to_judge(share, is_exact=False)):
        yield f"needs {counted(needed, 'sample')} of {name} to pass, and about {samples:,} come"


def _why_no_value(rule: Rule, name: str, forecast: Forecast, plan: Plan, num_runs: int) -> Iterator[str]:
    """Of a value of the whole run."""
    if name == "goodput" and plan.goodput is None:
        yield "cannot be judged without objectives (--goodput)"
    is_share = RUN_VALUES[name].kind is Kind.SHARE
    if not is_share or rule.bound.of is not None or not forecast.is_counted or is_simulated(plan):
        return
    requests = num_runs * forecast.samples["ttft", ALL]
    best = 0.0 if rule.comparison in ("<", "<=") else 1.0
    interval, bound = share_interval(best, max(requests, 1)), rule.bound.value()
    if rule.comparison != "==" and not (rule.holds(interval.low, bound) and rule.holds(interval.high, bound)):
        yield f"cannot pass with about {counted(requests, 'request')}: they are too few for such a share"


def _has(forecast: Forecast, key: tuple[str, str]) -> bool:
    """Whether there may be values of a metric and class: by what was drawn, or by the first sessions."""
    return bool(forecast.samples[key]) or key in _first(forecast.traffic)


def _first(traffic: Traffic) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for stream in traffic.recipe.make().workload.streams:
        for session in islice(stream.sessions(traffic.seed), _LOOKED_AT):
            for due in due_turns(session, lambda _: 0.0):
                for metric, _ in metrics_of(due):
                    found |= {(metric, due.session.traffic_class), (metric, ALL)}
    return found
