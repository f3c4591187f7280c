"""A comparison as findings: what to know before anything else, the verdicts, and how to read the table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from ..formatting import MOST_PRACTICAL
from ..recording.recorder import JUDGED
from ..summary.answers import answer_token_doubt
from ..summary.doubts import doubts_with
from ..summary.finding import SIMULATED, Finding, Label, Tone
from ..summary.findings import interrupted, no_verdict, note
from ..summary.summary import Summary
from .comparison import ComparedTarget, Comparison
from .difference import POWER, Verdict

_MOST_ROUNDS = 100
"""More than anyone would measure."""


def comparison_findings(comparison: Comparison, summaries: Mapping[str, Summary]) -> list[Finding]:
    """What failed, did not finish or is not to be trusted; then the verdict on each target.

    `summaries`: of all its targets, by name, the first of them first.
    """
    found = [SIMULATED] if any(summary.simulated for summary in summaries.values()) else []
    found += [
        Finding(label=Label.FAILED, tone=Tone.BAD, words=f"{name}: {why}") for name, why in comparison.failed.items()
    ]
    for name, summary in summaries.items():
        if not summary.is_complete:
            found.append(interrupted(f"{name} did not finish"))
        if not summary.succeeded:
            found.append(no_verdict(f"no request of {name} ended; its figures are lower bounds: run longer"))
        problems = doubts_with(summary, JUDGED, comparison.traffic_class)
        if (unanswered := answer_token_doubt(summary, comparison.traffic_class)) is not None:
            problems.append(unanswered)
        for doubt in problems:
            found.append(msgspec.structs.replace(doubt, words=f"{name}: {doubt.words}"))
    found += [Finding(label=Label.VERDICT, tone=Tone.WHY, words=target.verdict) for target in comparison.targets]
    return found


def results(comparison: Comparison) -> list[Finding]:
    """The sentence that people quote, of each target."""
    return [Finding(label=Label.RESULT, tone=Tone.WHY, words=target.quote) for target in comparison.targets]


def footnotes(comparison: Comparison, summaries: Mapping[str, Summary]) -> Iterator[Finding]:
    """How to read the marks, what would tell more, and what else to know."""
    floor = comparison.floor
    words = (
        f"% and x mark a real difference from {comparison.first} (all intervals together hold at "
        f"{comparison.confidence:.0%}); same: less than {floor.share:.0%} or {floor.ms:g} ms; ?: inconclusive"
    )
    verdicts = {difference.verdict for target in comparison.targets for difference in target.differences}
    if Verdict.NOT_JUDGED in verdicts:
        words += "; -: not judged, as a stretch of time has too few requests for what is beyond p99"
    yield Finding(label=Label.KEY, tone=Tone.PLAIN, words=words)
    for target in comparison.targets:
        if any(difference.is_restless for difference in target.differences):
            yield note(f"{target.name}: the rounds differ by more than chance; was the machine disturbed?")
        for text in target.notes:
            yield note(f"{target.name}: {text}")
        if target.recommended_requests:
            yield _recommendation(comparison, target)
    for name, summary in summaries.items():
        for warning in summary.warnings:
            yield note(f"{name}: {warning}")


def _recommendation(comparison: Comparison, target: ComparedTarget) -> Finding:
    needed, hopeless = [], []
    for metric, requests in target.recommended_requests.items():
        rounds = target.recommended_rounds.get(metric, 0) if comparison.rounds > 1 else 0
        if requests > MOST_PRACTICAL or rounds > _MOST_ROUNDS:
            hopeless.append(metric)
            continue
        needed.append(f"{metric} {requests:,} requests{f' (--rounds {rounds})' if rounds else ''}")
    parts = [f"{target.name} needs: {', '.join(needed)}"] if needed else []
    if hopeless:
        parts.append(f"no practical number of requests would tell for {', '.join(hopeless)}")
    return Finding(
        label=Label.ADVICE,
        tone=Tone.WHY,
        words=f"to detect a {comparison.effect:.0%} change in p99 with {POWER:.0%} power, {'; '.join(parts)}",
        numbers={f"{metric}_requests": requests for metric, requests in target.recommended_requests.items()},
    )
