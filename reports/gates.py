"""Rules that a run must hold: `ttft.p99/p50 <= 3`, `chat.ttft.p99 < 500ms`, `errors < 0.1%`."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from ..engine.errors import ConfigurationError
from .bootstrap import Interval
from .recorder import ALL, METRICS
from .summary import (
    MIN_SAMPLES,
    MetricSummary,
    Summary,
    client_problems,
    doubt_of_metric,
    doubts,
    share_failed,
    share_good,
    share_unknown,
)

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "==": operator.eq,
}
_MILLISECONDS = {"us": 1e-3, "ms": 1.0, "s": 1e3}
_STATISTICS = {
    "p50": "p50_ms",
    "p90": "p90_ms",
    "p99": "p99_ms",
    "p99.9": "p999_ms",
    "max": "max_ms",
    "mean": "mean_ms",
}
_MIN_SAMPLES = {"p50": 10, "mean": 10, "p90": 30, "p99": MIN_SAMPLES, "p99.9": 10 * MIN_SAMPLES, "max": 1}
"""Fewer samples than this cannot carry the statistic, so a rule about it is not judged."""

_RULE_OF_THREE = 3
"""No failure among n requests bounds the true share by 3/n, at 95% confidence."""

_TAIL_SHARES = {"p50": 0.5, "mean": 0.0, "p90": 0.1, "p99": 0.01, "p99.9": 0.001, "max": 0.0}
"""With a larger share than this cut off before their end, the true value may be anything above the one measured."""

_RUN_VALUES: dict[str, tuple[str, Callable[[Summary], float]]] = {
    "errors": ("%", share_failed),
    "goodput": ("%", share_good),
    "achieved_rate": ("", lambda summary: summary.achieved_rate),
    "offered_rate": ("", lambda summary: summary.offered_rate),
    "output_tokens_per_s": ("", lambda summary: summary.output_tokens_per_s),
    "late_arrivals": ("", lambda summary: summary.late_arrivals),
    "dropped_arrivals": ("", lambda summary: summary.dropped_arrivals),
    "censored": ("", lambda summary: summary.censored),
}

_INTERVALS = {
    ("p50", None): "p50_interval_ms",
    ("p99", None): "p99_interval_ms",
    ("p99", "p50"): "tail_ratio_interval",
}
"""By statistic and divisor."""

_STATISTIC_PATTERN = r"p50|p90|p99\.9|p99|max|mean"
_LATENCY = re.compile(
    rf"(?:(?P<traffic_class>[a-z][a-z0-9-]*)\.)?(?P<metric>{'|'.join(METRICS)})\."
    rf"(?P<statistic>{_STATISTIC_PATTERN})(?:/(?P<divisor>{_STATISTIC_PATTERN}))?(?![\w.])"
)
_RUN_VALUE = re.compile("|".join(_RUN_VALUES) + r"(?![\w.])")
_COMPARISON = re.compile(r"\s*(<=|>=|==|<|>)\s*")
_BOUND = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|%)?\s*$")


class Outcome(StrEnum):
    """What became of a rule. INCONCLUSIVE is never a pass."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A rule, what became of it, and why in one line."""

    rule: str
    outcome: Outcome
    reason: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A parsed rule. Latency bounds are in milliseconds, shares between 0 and 1."""

    text: str
    comparison: str
    bound: float
    run_value: str | None = None
    traffic_class: str = ALL
    metric: str = ""
    statistic: str = ""
    divisor: str | None = None

    def judge(self, summary: Summary) -> Judgement:
        """Hold the rule against a run."""
        if summary.succeeded == 0:
            return Judgement(self.text, Outcome.INCONCLUSIVE, "no request succeeded")
        if self.run_value is not None:
            unit, read = _RUN_VALUES[self.run_value]
            value = read(summary)
            if math.isnan(value):
                return Judgement(self.text, Outcome.INCONCLUSIVE, "the run had no --goodput objectives")
            judgement = self._compare(value, f"{value:.3%}" if unit == "%" else f"{value:g}")
            problems = client_problems(summary) if self.run_value == "goodput" else []
            if problems and judgement.outcome is Outcome.FAIL:
                return Judgement(self.text, Outcome.INCONCLUSIVE, f"{judgement.reason}, but {problems[0]}")
            return self._doubt_share(judgement, value, summary) if unit == "%" else judgement
        measured = summary.metrics.get(self.metric, {}).get(self.traffic_class)
        if measured is None:
            return Judgement(
                self.text, Outcome.INCONCLUSIVE, f"there is no {self.metric} of class {self.traffic_class!r}"
            )
        if problems := doubts(summary):
            return Judgement(self.text, Outcome.INCONCLUSIVE, problems[0])
        needed = max(_MIN_SAMPLES[name] for name in (self.statistic, self.divisor) if name)
        if measured.count < needed:
            return Judgement(self.text, Outcome.INCONCLUSIVE, f"{measured.count} samples, of {needed} needed")
        value = _value(measured, self.statistic)
        if self.divisor is None:
            judgement = self._compare(value, f"{value:.3f} ms")
        else:
            divisor = _value(measured, self.divisor)
            if divisor == 0:
                return Judgement(self.text, Outcome.INCONCLUSIVE, f"{self.divisor} is 0")
            judgement = self._compare(value / divisor, f"{value / divisor:.3f} ({value:.3f} ms / {divisor:.3f} ms)")
        unknown = share_unknown(summary)
        if judgement.outcome is Outcome.PASS and unknown > _TAIL_SHARES[self.statistic]:
            reason = f"of {unknown:.1%} of the requests only a lower bound is known: {judgement.reason} or more"
            return Judgement(self.text, Outcome.INCONCLUSIVE, reason)
        problem = doubt_of_metric(summary, self.metric, self.traffic_class)
        if problem is not None and not self._stands_in_spite_of_lag(judgement, value, summary):
            return Judgement(self.text, Outcome.INCONCLUSIVE, problem)
        return self._doubt_chance(judgement, measured)

    def _stands_in_spite_of_lag(self, judgement: Judgement, value: float, summary: Summary) -> bool:
        """Lag of the client only adds to latencies: what is low enough with it is, what fails by more than it fails."""
        if self.divisor is not None or self.comparison not in ("<", "<=") or summary.client is None:
            return False
        is_pass = judgement.outcome is Outcome.PASS
        return is_pass or not _COMPARISONS[self.comparison](value - summary.client.lag_p99_ms, self.bound)

    def _doubt_chance(self, judgement: Judgement, measured: MetricSummary) -> Judgement:
        """Neither a pass nor a failure, if the true value may as well lie on the other side of the bound."""
        name = _INTERVALS.get((self.statistic, self.divisor))
        interval: Interval | None = getattr(measured, name) if name else None
        if interval is None or self.comparison == "==":
            return judgement
        holds = _COMPARISONS[self.comparison]
        ends = {holds(interval.low, self.bound), holds(interval.high, self.bound)}
        if ends == {judgement.outcome is Outcome.PASS}:
            return judgement
        unit = " ms" if self.divisor is None else ""
        reason = f"{judgement.reason}, and at 95% between {interval.low:.3f} and {interval.high:.3f}{unit}: run longer"
        return Judgement(self.text, Outcome.INCONCLUSIVE, reason)

    def _doubt_share(self, judgement: Judgement, value: float, summary: Summary) -> Judgement:
        """A share that holds only because too few requests were made, or because some never ended, is no pass."""
        if judgement.outcome is not Outcome.PASS or self.comparison not in ("<", "<=") or self.bound == 0:
            return judgement
        if summary.requests * self.bound < _RULE_OF_THREE:
            needed = math.ceil(_RULE_OF_THREE / self.bound)
            reason = f"{judgement.reason}, but {summary.requests} requests cannot show that; {needed} could"
            return Judgement(self.text, Outcome.INCONCLUSIVE, reason)
        if (unknown := share_unknown(summary)) + value > self.bound:
            reason = f"{judgement.reason}, but {unknown:.1%} of the requests never ended"
            return Judgement(self.text, Outcome.INCONCLUSIVE, reason)
        return judgement

    def _compare(self, value: float, shown: str) -> Judgement:
        holds = _COMPARISONS[self.comparison](value, self.bound)
        return Judgement(self.text, Outcome.PASS if holds else Outcome.FAIL, f"it is {shown}")


def _value(measured: MetricSummary, statistic: str) -> float:
    value: float = getattr(measured, _STATISTICS[statistic])
    return value


def parse_rule(text: str) -> Rule:
    """Parse a rule such as `ttft.p99/p50 <= 3`.

    Raises:
        ConfigurationError: it is no rule; the text points at the column.
    """
    rule = text.strip()
    latency, run_value = _LATENCY.match(rule), _RUN_VALUE.match(rule)
    subject = latency or run_value
    if subject is None:
        raise _error(
            rule, 0, f"a metric ({', '.join(METRICS)}) with a statistic as in ttft.p99, or {', '.join(_RUN_VALUES)}"
        )
    comparison = _COMPARISON.match(rule, subject.end())
    if comparison is None:
        raise _error(rule, subject.end(), f"one of {' '.join(_COMPARISONS)}")
    bound = _BOUND.match(rule, comparison.end())
    if bound is None:
        raise _error(rule, comparison.end(), "a number")
    value, unit = float(bound[1]), bound[2]
    if latency is None:
        name = subject[0]
        is_share = _RUN_VALUES[name][0] == "%"
        if unit not in ((None, "%") if is_share else (None,)):
            raise _error(rule, bound.start(2), f"no unit behind {name}" + (" but %" if is_share else ""))
        if is_share and unit is None and value > 1:
            raise _error(rule, bound.start(1), f"a share between 0 and 1, or {bound[1]}%")
        return Rule(rule, comparison[1], value / 100 if unit == "%" else value, run_value=name)
    if latency["divisor"] is None:
        if unit not in _MILLISECONDS:
            raise _error(rule, bound.start(1), f"a time with its unit, as in {bound[1]}ms")
        value *= _MILLISECONDS[unit]
    elif unit is not None:
        raise _error(rule, bound.start(2), "no unit: a ratio has none")
    return Rule(
        rule,
        comparison[1],
        value,
        traffic_class=latency["traffic_class"] or ALL,
        metric=latency["metric"],
        statistic=latency["statistic"],
        divisor=latency["divisor"],
    )


def _error(rule: str, column: int, expected: str) -> ConfigurationError:
    return ConfigurationError(f"rule {rule!r}, column {column + 1}: expected {expected}")
