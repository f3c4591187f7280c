"""The first line of a report: one plain sentence that says what a run comes to, and claims no more than is known."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from abatch.cli.exit_codes import ExitCode
from abatch.cli.options.judging import exit_code
from abatch.reports.attribution.attribution import attribute
from abatch.reports.gates.parser import parse_rules
from abatch.reports.recording.recorder import Recorder
from abatch.reports.run.config import RunConfig
from abatch.reports.summary.causes import BECAUSE, Cause
from abatch.reports.summary.doubts import doubts
from abatch.reports.summary.errors import no_success
from abatch.reports.summary.finding import Finding, Label, Tone
from abatch.reports.summary.findings import findings
from abatch.reports.summary.state import State
from abatch.reports.summary.summary import Summary, fill_summary
from abatch.workloads.result import Result
from support.results import make_result
from support.rules import judged


def summary_of(results: Sequence[Result], **labels: object) -> Summary:
    recorder = Recorder()
    for result in results:
        recorder.add(result)
    summary = fill_summary(Summary(), recorder, max(result.due_s for result in results))
    summary.attribution = attribute(lambda: results, summary)
    return msgspec.structs.replace(summary, **labels)


def even(count: int, *, gaps: int = 5, ttft_ms: float = 50.0) -> list[Result]:
    """Requests that all take nearly the same, ten per second."""
    return [
        make_result(ttft_ms + index % 7, gaps_ms=(10.0,) * gaps, due_s=index / 10, session_id=str(index))
        for index in range(count)
    ]


def head(summary: Summary) -> Finding:
    return findings(summary)[0]


def test_ok_needs_every_primary_metric() -> None:
    ok = head(summary_of(even(2000)))
    assert ok.label is Label.OK
    assert "ttft, itl" in ok.words
    assert "e2e" in ok.words
    few = head(summary_of(even(200)))
    assert few.label is Label.NOT_ENOUGH_DATA, "thousands of gaps make no verdict on the first token"
    assert "ttft 200 of about" in few.words
    assert "e2e 200 of about" in few.words


def _small_class_fails(**labels: object) -> Summary:
    results = even(2000)
    for number in range(40):
        results.append(
            make_result(50.0, error="http_500", traffic_class="agent", due_s=number * 5.0, session_id=f"a{number}")
        )
    return summary_of(results, **labels)


def test_a_small_class_that_fails_is_named() -> None:
    first = head(_small_class_fails())
    assert first.label is Label.ERRORS
    assert first.tone is Tone.BAD
    assert first.words.startswith("2.0% of the requests failed (40 of 2,040): HTTP 500")
    assert first.words.endswith(". Of class agent, 100% failed")
    assert "Of class" not in head(summary_of([*even(200), make_result(50.0, error="http_500", due_s=3.0)])).words


def test_a_verdict_about_a_class_that_fails_is_in_doubt() -> None:
    assert doubts(_small_class_fails(verdict_class="agent"))
    assert not doubts(_small_class_fails())


def test_what_would_be_enough_is_said() -> None:
    words = head(summary_of(even(200))).words
    assert words.startswith("p99 cannot be judged yet: ttft 200 of about 310 samples, ")
    assert "At this rate about 31 s of measuring would be enough (--duration, besides the warm-up)" in words
    assert len(words) < 240, "it is the first line"


def test_a_run_of_one_token_per_answer_has_no_gaps_to_judge() -> None:
    ok = head(summary_of(even(2000, gaps=0)))
    assert ok.label is Label.OK
    assert "itl" not in ok.words


def test_a_lower_percentile_decides_early() -> None:
    """Two of ten requests wait for a hundred medians, all through the run: that is no matter of p99."""
    results = [
        make_result(5000.0 if index % 10 in (3, 7) else 50.0, due_s=index / 5, session_id=str(index))
        for index in range(202)
    ]
    summary = summary_of(results)
    ttft = summary.metrics["ttft"]["all"]
    assert ttft.verdict is State.FLAGGED
    assert ttft.lower is not None
    assert head(summary).label is Label.FLAGGED
    assert "your p95 TTFT is 5 s, 100x the median" in head(summary).words
    assert any("too few for p99, which is higher still" in finding.words for finding in findings(summary))


def test_one_bad_moment_does_not_decide_early() -> None:
    results = [make_result(5000.0 if 100 <= index < 130 else 50.0, due_s=index / 5) for index in range(202)]
    assert summary_of(results).metrics["ttft"]["all"].verdict is State.TOO_FEW


def test_the_sentence_says_why(stalled: Summary) -> None:
    assert head(stalled).label is Label.FLAGGED
    assert "because the server made no progress for" in head(stalled).words


@pytest.fixture(scope="module")
def stalled() -> Summary:
    return summary_of(_stalled_run(200, every_s=10))


def _stalled_run(seconds: int, every_s: int = 1000) -> list[Result]:
    """Twenty requests per second of forty tokens each; after five seconds, and then again, nothing happens for one."""
    results = []
    for index in range(20 * seconds):
        due_s = index / 20
        times_s = [_awake_s(due_s + 0.02, every_s)]
        for _ in range(40):
            times_s.append(_awake_s(times_s[-1] + 0.01, every_s))
        gaps_ms = tuple((after - before) * 1e3 for before, after in pairwise(times_s))
        ttft_ms = (times_s[0] - due_s) * 1e3
        results.append(make_result(ttft_ms, gaps_ms=gaps_ms, due_s=due_s, session_id=str(index)))
    return results


def _awake_s(at_s: float, every_s: int) -> float:
    """The end of the stall that a moment lies in, or the moment itself."""
    into_s = at_s % every_s
    return at_s + 6.0 - into_s if 5.0 <= into_s < 6.0 else at_s


def test_every_cause_can_stand_behind_because() -> None:
    assert set(BECAUSE) == set(Cause)


def failing(first_s: float, last_s: float) -> list[Result]:
    """Two thousand requests; those due in this time fail at once."""
    return [
        make_result(
            50.0, gaps_ms=(10.0,) * 5, due_s=index / 10, session_id=str(index),
            error="connect" if first_s <= index / 10 < last_s else None,
            error_message="connection refused",
        )
        for index in range(2000)
    ]  # fmt: skip


def test_errors_come_first_with_their_reason_and_since_when() -> None:
    summary = summary_of(failing(60.0, 1000.0))
    first = head(summary)
    assert first.label is Label.ERRORS
    assert first.words.startswith("70% of the requests failed (1,400 of 2,000)")
    assert "connection refused" in first.words
    assert "since 60.1 s; nothing succeeded after that" in first.words
    assert Label.OK not in {finding.label for finding in findings(summary)}


def test_a_spell_of_errors_is_placed() -> None:
    words = head(summary_of(failing(50.0, 70.0))).words
    assert "from 50.1 s to 70.0 s into the run" in words


def test_a_few_errors_stand_below_the_verdict() -> None:
    labels = [finding.label for finding in findings(summary_of(failing(50.0, 52.0)))]
    assert labels[:2] == [Label.OK, Label.ERRORS]


@pytest.mark.parametrize(
    ("failing_s", "rules", "code"),
    [
        (40.0, (), ExitCode.FAILED),
        (2.0, (), ExitCode.OK),
        (40.0, ("errors < 95%",), ExitCode.OK),
        (40.0, ("errors < 30%",), ExitCode.RULE_INCONCLUSIVE),  # one outage: the next run may have two
        (40.0, ("errors < 1%",), ExitCode.RULE_FAILED),
    ],
)
def test_a_run_of_which_too_much_failed_has_failed_unless_a_rule_allows_it(
    failing_s: float, rules: tuple[str, ...], code: ExitCode
) -> None:
    summary = summary_of(failing(20.0, 20.0 + failing_s))
    parsed = parse_rules(rules)
    assert exit_code(summary, parsed, [judged(rule, summary) for rule in rules]) is code


def test_everything_within_the_warm_up_is_not_no_success() -> None:
    results = [make_result(50.0, due_s=index / 20, warmup=True) for index in range(99)]
    first = head(summary_of(results))
    assert first.label is Label.NO_VERDICT
    assert "all 99 requests fell into the warm-up" in first.words


def test_failures_that_several_processes_saw_are_placed_as_one_would() -> None:
    parts = [RunConfig().new_recorder() for _ in range(2)]
    for index, result in enumerate(failing(50.0, 70.0)):
        parts[index % 2].add(result)
    parts[0].merge(parts[1])
    whole = Recorder()
    for result in failing(50.0, 70.0):
        whole.add(result)
    assert parts[0].totals.error_spans_s == whole.totals.error_spans_s
    assert parts[0].totals.last_success_s == whole.totals.last_success_s


def test_one_event_is_told_without_a_claim_for_the_next_run() -> None:
    """Twenty of forty requests waited for something. Whether another run would have it is not known."""
    results = []
    for index in range(1200):
        due_s = index / 20
        waits_s = 2.0 - (due_s - 30.0) if 30.0 <= due_s < 32.0 and index % 2 else 0.0
        results.append(make_result(50.0 + 1e3 * waits_s, gaps_ms=(10.0,) * 5, due_s=due_s, session_id=str(index)))
    first = head(summary_of(results))
    assert first.label is Label.BORDERLINE
    assert "your p99 TTFT is" in first.words
    assert "too few events to say that another run would have them" in first.words
    assert "0.0x" not in " ".join(finding.words for finding in findings(summary_of(results)))


@pytest.mark.parametrize("seconds", [60, 8])
def test_a_stall_that_was_seen_is_flagged_however_short_the_run(seconds: int) -> None:
    """One in a run, which may be too short for a p99: it happened, and it is why."""
    results = [result for result in _stalled_run(seconds) if result.due_s < seconds]
    summary = summary_of(results)
    first = head(summary)
    assert first.label is Label.FLAGGED
    assert "because the server made no progress for 1.0" in first.words
    assert "Whether other runs have such stalls, this one cannot say" in first.words
    assert ("your p90 TTFT" in first.words) == (seconds == 8)


def test_a_timeout_is_said_once() -> None:
    slow: dict[str, Any] = {
        "error": "timeout",
        "error_message": "no complete answer within 2 s (--timeout)",
        "first_s": None,
    }
    results = [make_result(50.0, due_s=index / 10, **(slow if index % 5 == 0 else {})) for index in range(400)]
    first = head(summary_of(results))
    assert first.label is Label.ERRORS
    assert first.words.endswith("(80 of 400): no complete answer within 2 s (--timeout)")


def test_one_request_is_not_all_of_them() -> None:
    assert no_success(Summary(warmup_requests=1)).startswith("the only request fell into the warm-up")
    assert no_success(Summary(warmup_requests=2)).startswith("all 2 requests fell into the warm-up")
