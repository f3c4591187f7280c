"""Judging runs by rules: pass, fail, or inconclusive, with the interval that decided it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from ..comparison.comparable import why_measured_apart
from ..run.measurement import Measurement
from ..summary.finding import Tone
from ..summary.summary import Summary
from ..summary.verdict import NOT_MISSED
from .latency import judge_latency, judge_latency_against
from .rule import Rule
from .run_value import judge_run_value, judge_run_value_against
from .slowdown import judge_slowdown, judge_slowdown_against
from .undecided import UndecidedError


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


def judge(
    rule: Rule, run: Measurement, baseline: Measurement | None = None, *, rare_s: float | None = None
) -> Judgement:
    """Judge a run by a rule, against a baseline if the rule asks for one.

    `rare_s`: what comes once in so many seconds must not have been missed.

    Raises:
        ConfigurationError: a run folder is damaged.
    """
    try:
        holds, reason = _decide(rule, run, baseline)
        if holds and not run.summary.is_complete:
            raise UndecidedError(f"{reason}; but the run did not finish")
        if holds and rare_s is not None:
            _refuse_what_may_miss(rare_s, run.summary, reason)
    except UndecidedError as undecided:
        return Judgement(rule.text, Outcome.INCONCLUSIVE, str(undecided))
    return Judgement(rule.text, Outcome.PASS if holds else Outcome.FAIL, reason)


def _refuse_what_may_miss(rare_s: float, summary: Summary, reason: str) -> None:
    """A run of three times as long misses what is that rare once in twenty times (Poisson)."""
    needed_s = NOT_MISSED * rare_s
    if not summary.simulated and summary.measured_s < needed_s:
        raise UndecidedError(
            f"{reason}; stalls as rare as one in {rare_s:g} s may have been missed: measure for {needed_s:g} s (--rare)"
        )


def _decide(rule: Rule, run: Measurement, baseline: Measurement | None) -> tuple[bool, str]:
    for one in (run, baseline) if baseline is not None and rule.needs_baseline else (run,):
        is_known = rule.run_value == "errors" and one.summary.requests > 0 and not rule.needs_baseline
        if one.summary.succeeded == 0 and not is_known:
            raise UndecidedError("no request succeeded" + (" in the baseline" if one is baseline else ""))
    name = rule.run_value
    if not rule.needs_baseline:
        if rule.is_slowdown:
            return judge_slowdown(rule, run)
        return judge_latency(rule, run) if name is None else judge_run_value(rule, name, run.summary)
    if baseline is None:
        raise UndecidedError("there is no baseline to compare with: give --baseline RUN")
    if (why_not := why_measured_apart((baseline, "the baseline"), (run, "this run"))) is not None:
        raise UndecidedError(why_not)
    if rule.is_slowdown:
        return judge_slowdown_against(rule, run, baseline)
    if name is None:
        return judge_latency_against(rule, run, baseline)
    return judge_run_value_against(rule, name, run, baseline)


def judge_all(
    rules: Iterable[Rule], run: Measurement, baseline: Measurement | None = None, *, rare_s: float | None = None
) -> list[Judgement]:
    """Judge a run by several rules. `rare_s`: what comes once in so many seconds must not have been missed.

    Raises:
        ConfigurationError: a run folder is damaged.
    """
    return [judge(rule, run, baseline, rare_s=rare_s) for rule in rules]
