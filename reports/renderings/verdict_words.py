"""A run's verdict and facts in words, without colour: what the renderings for machines say of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ..formatting import one_line
from ..gates.judge import Judgement, Outcome
from ..summary.summary import Summary
from .fact_lines import fact_lines
from .verdict_lines import verdict_lines

_WORDS = ("NO VERDICT", "NOT TRUSTED", "FLAGGED", "BORDERLINE", "OK", "TOO FEW")
"""The first of these that a run has is what it comes to: numbers that cannot be trusted flag nothing."""
_RESERVATIONS = ("SIMULATED", "INTERRUPTED")
_OUTCOMES = {Outcome.FAIL: "failed", Outcome.INCONCLUSIVE: "inconclusive", Outcome.PASS: "passed"}


@dataclass(frozen=True, slots=True)
class VerdictLine:
    """`FLAGGED` and what is said of it."""

    label: str
    words: str

    def __str__(self) -> str:
        return f"{self.label}: {self.words}"


def verdict_words(summary: Summary) -> list[VerdictLine]:
    """The lines of the verdict, in the order of the console."""
    found = []
    for line in verdict_lines(summary):
        label, _, words = one_line(line.plain).partition(": ")
        found.append(VerdictLine(label, words))
    return found


def headline(lines: Iterable[VerdictLine], judgements: Iterable[Judgement] = ()) -> str:
    """What it comes to: `FLAGGED (SIMULATED), rules: 1 failed, 2 passed`."""
    labels = {line.label for line in lines}
    text = next((word for word in _WORDS if word in labels), "NO VERDICT")
    if reservations := [word for word in _RESERVATIONS if word in labels]:
        text += f" ({', '.join(reservations)})"
    counts = Counter(judgement.outcome for judgement in judgements)
    if outcomes := [f"{counts[outcome]} {word}" for outcome, word in _OUTCOMES.items() if counts[outcome]]:
        text += f", rules: {', '.join(outcomes)}"
    return text


def fact_words(summary: Summary) -> list[str]:
    """Rates, errors, how far the client can be trusted, and notes; a line each."""
    return [*fact_lines(summary).plain.splitlines(), *(one_line(f"note: {warning}") for warning in summary.warnings)]
