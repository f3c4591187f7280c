"""Answers of another size than was asked for: what is said of a run, of a rule, and of two servers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from abatch.cli.options.traffic import TrafficOptions
from abatch.engine.null_server.behaviour import Behaviour
from abatch.reports.comparison.comparison import compare
from abatch.reports.comparison.difference import Verdict
from abatch.reports.gates.judge import Outcome, judge
from abatch.reports.gates.parser import parse_rule
from abatch.reports.recording.recorder import Recorder
from abatch.reports.summary.answers import answer_doubts
from abatch.reports.summary.doubts import doubts
from abatch.reports.summary.summary import Summary, fill_summary
from abatch.workloads.result import Result
from support.injections import null_run, summarised
from support.measured import measurement, noisy
from support.results import make_result
from support.rules import judged


def _answers(*sizes: tuple[int | None, int], count: int = 100, **fields: Any) -> list[Result]:
    """Answers of so many tokens, of so many asked for, in turns."""
    return [
        make_result(due_s=number / 10, output_tokens=tokens, max_tokens=asked, **fields)
        for number in range(count)
        for tokens, asked in (sizes[number % len(sizes)],)
    ]


def _doubt(results: list[Result], **labels: Any) -> str:
    recorder = Recorder()
    for result in results:
        recorder.add(result)
    return "; ".join(doubt.words for doubt in answer_doubts(fill_summary(Summary(**labels), recorder, 10.0)))


def test_answers_of_the_length_that_was_asked_for_are_no_doubt() -> None:
    assert _doubt(_answers((40, 40), (7, 7), (1, 1))) == ""
    assert _doubt(_answers((39, 40), (41, 40), (505, 500), (495, 500))) == "", "the end-of-sequence token, or not"
    assert _doubt(_answers((3, 40), (40, 40), count=100)[:1] + _answers((40, 40), count=199)) == "", "1 of 200"


@pytest.mark.parametrize(
    ("tokens", "asked", "mean"), [(3, 40, "3.0"), (38, 40, "38.0"), (45, 40, "45.0"), (1, 3, "1.0")]
)
def test_answers_of_another_length_are_a_doubt_with_the_figures(tokens: int, asked: int, mean: str) -> None:
    words = _doubt(_answers((tokens, asked)))
    assert words.startswith("100.0% of the answers have another length")
    assert f"({mean} tokens on average, {asked}.0 asked for)" in words
    assert "--no-ignore-eos" in words
    assert _doubt(_answers((3, 40)) + _answers((40, 40), count=900)).startswith("10.0% of the answers")


def test_lengths_that_the_model_chooses_and_lengths_unknown_are_none(tmp_path: Path) -> None:
    assert _doubt(_answers((3, 40)), has_own_lengths=True) == ""
    assert _doubt(_answers((None, 40))) == ""
    own = measurement(tmp_path / "own", _answers((30, 40), count=400), has_own_lengths=True).summary
    assert "answers end where the model ends them: 30.0 tokens on average, at most 40.0 were asked for" in own.warnings
    assert doubts(own) == []
    unknown = measurement(tmp_path / "unknown", _answers((None, 40), count=400)).summary
    assert any("unknown: the server reports no usage" in warning for warning in unknown.warnings)


def test_a_few_are_a_note(tmp_path: Path) -> None:
    few = [*_answers((3, 40), count=1), *_answers((40, 40), count=300)]
    few.append(make_result(prompt_tokens=100, least_prompt_tokens=500, finish_reason="content_filter"))
    summary = measurement(tmp_path, few).summary
    assert summary.warnings == [
        "1 answer of 301 had another length than was asked for",
        "1 answer ended by the server's content filter",
    ]


@pytest.mark.parametrize(
    ("counted", "sent", "is_cut"), [(100, 500, True), (410, 500, False), (10, 24, False), (20, 40, True)]
)
def test_prompts_that_the_server_cut_short(counted: int, sent: int, *, is_cut: bool) -> None:
    words = _doubt(_answers((5, 5), prompt_tokens=counted, least_prompt_tokens=sent))
    assert words == (
        f"100.0% of the prompts were cut short by the server: it counted {counted} of at least {sent} tokens on "
        "average; raise its context limit"
        if is_cut
        else ""
    )
    assert _doubt(_answers((5, 5), prompt_tokens=counted, least_prompt_tokens=None)) == "", "nobody knows"
    assert _doubt(_answers((5, 5), prompt_tokens=None, least_prompt_tokens=sent)) == ""


def test_answers_that_a_filter_ended() -> None:
    assert "filter" in _doubt(_answers((5, 5), finish_reason="content_filter"))
    assert _doubt(_answers((5, 5), finish_reason="stop")) == ""


def test_several_processes_count_as_one() -> None:
    results = _answers((3, 40), (40, 40), (41, 60))
    parts, whole = (Recorder(), Recorder()), Recorder()
    for number, result in enumerate(results):
        parts[number % 2].add(result)
        whole.add(result)
    parts[0].merge(parts[1])
    assert parts[0].totals.answers.squares == pytest.approx(whole.totals.answers.squares)
    assert parts[0].totals.answers.shorter == whole.totals.answers.shorter == 67


def test_failed_and_cut_off_requests_have_no_size() -> None:
    failed = _answers((3, 40), error="server_error")
    assert _doubt(failed + _answers((3, 40), censored=True) + _answers((3, 40), warmup=True)) == ""


_TRAFFIC = TrafficOptions(
    workload="chat-short", turns=1, request_rate=40.0, duration_s=20.0, warmup_s=0.0, input_len=500, output_len=40
)


@pytest.mark.parametrize("fault", [{"stop_after": 3}, {"cut_prompts": 100}])
def test_a_server_that_does_less_passes_no_rule_on_latency(fault: dict[str, int]) -> None:
    well, less = (summarised(null_run(Behaviour(**one), _TRAFFIC)) for one in ({}, fault))  # type: ignore[arg-type]
    for rule in ("e2e.p99 <= 1s", "ttft.p50 <= 1s"):
        assert judged(rule, well).outcome is Outcome.PASS
        assert judged(rule, less).outcome is Outcome.INCONCLUSIVE
    assert judged("errors < 1%", less).outcome is Outcome.PASS, "rates and errors are still judged"
    assert judged("achieved_rate >= 30", less).outcome is Outcome.PASS


def _noisy(seed: int, tokens: int, factor: float = 1.0) -> list[Result]:
    return noisy(seed, factor=factor, output_tokens=tokens, max_tokens=40)


def test_nobody_is_better_by_answering_less(tmp_path: Path) -> None:
    first = measurement(tmp_path / "first", _noisy(1, 40), has_own_lengths=True)
    short = measurement(tmp_path / "short", _noisy(2, 4, 0.5), has_own_lengths=True)
    same = measurement(tmp_path / "same", _noisy(3, 40, 0.5), has_own_lengths=True)
    (target,) = compare({"first": first, "short": short}).targets
    assert target.verdict == (
        "Cannot compare short and first: their answers differ in length, 40.0 tokens on average (100% of what was "
        "asked for) against 4.0 tokens on average (10% of what was asked for)."
    )
    assert {one.verdict for one in target.differences} <= {Verdict.UNTRUSTED, Verdict.TOO_FEW}
    assert compare({"first": first, "same": same}).targets[0].verdict.startswith("same is better than first")
    rule = parse_rule("ttft.p50 <= baseline + 10%")
    assert judge(rule, same, first).outcome is Outcome.PASS
    refused = judge(rule, short, first)
    assert refused.outcome is Outcome.INCONCLUSIVE
    assert "their answers differ in length" in refused.reason


def test_lengths_that_differ_by_chance_do_not_differ(tmp_path: Path) -> None:
    """Few answers, of lengths that the model chooses."""
    sizes = [(10, 40), (20, 40), (40, 40)]
    few = [
        measurement(tmp_path / str(number), _answers(*sizes[number:], *sizes[:number], count=23), has_own_lengths=True)
        for number in range(2)
    ]
    (target,) = compare({str(number): one for number, one in enumerate(few)}).targets
    assert "length" not in target.verdict
