"""Answers that think first, come all at once, have holes, or were sent again: what reports and rules make of them."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import NormalDist
from typing import Any

import pytest
from abatch.cli.measuring.sweep import why_not
from abatch.reports.comparison.comparison import compare
from abatch.reports.comparison.difference import Verdict
from abatch.reports.comparison.findings import comparison_findings
from abatch.reports.gates.judge import Judgement, Outcome, judge
from abatch.reports.gates.parser import parse_rule
from abatch.reports.recording.goodput import meets, parse_objectives
from abatch.reports.recording.idle_model import IdleModel, IdlePoint
from abatch.reports.recording.recorder import Recorder
from abatch.reports.renderings.csv_table import render_csv
from abatch.reports.renderings.facts import connection_facts
from abatch.reports.run.measurement import Measurement
from abatch.reports.summary.causes import Cause
from abatch.reports.summary.finding import Label
from abatch.reports.summary.findings import findings
from abatch.reports.summary.state import State
from abatch.reports.summary.summary import Summary, fill_summary
from abatch.workloads.result import Result
from support.measured import LENGTH_S, measurement
from support.results import make_result
from support.shown import shown_run

_COUNT = 1200
_GOLDEN = (math.sqrt(5) - 1) / 2
_IDLE = IdleModel(
    requests=8, is_probed=True, points=[IdlePoint(20.0, 50.0)], itl_base_ms=10.0, spread=0.04, largest_prompt=20
)


def _noise(number: int) -> float:
    """A factor, log-normal, and spread evenly over any stretch of numbers."""
    return math.exp(0.1 * NormalDist().inv_cdf((0.5 + number * _GOLDEN) % 1))


def _answers(count: int = _COUNT, *, wait_ms: float = 50.0, num_gaps: int = 10, **fields: Any) -> Iterator[Result]:
    for number in range(count):
        yield make_result(
            wait_ms * _noise(number),
            gaps_ms=tuple(10 * _noise(num_gaps * number + place) for place in range(num_gaps)),
            due_s=LENGTH_S * number / count,
            session_id=f"s-{number}",
            **{"output_tokens": 11, "max_tokens": 11} | fields,
        )


def _is_one_of(number: int, share: float) -> bool:
    return math.floor(round((number + 1) * share, 9)) > math.floor(round(number * share, 9))


def _thinking(share_unanswered: float, *, count: int = _COUNT, until_s: float = 0.05) -> Iterator[Result]:
    """Answers of 0.15 s; those that get to an answer token do so halfway."""
    for number, result in enumerate(_answers(count, had_reasoning=True)):
        assert result.first_s is not None
        if not _is_one_of(number, share_unanswered):
            result.first_answer_s = result.first_s + until_s
        yield result


def _mixed(share_whole: float, *, count: int = _COUNT) -> Iterator[Result]:
    whole = _answers(count, wait_ms=150.0, num_gaps=0, was_streamed=False)
    for number, (one, other) in enumerate(zip(_answers(count), whole, strict=True)):
        yield other if _is_one_of(number, share_whole) else one


_RUNS: dict[str, Callable[[], Iterable[Result]]] = {
    "usual": _answers,
    "thinking": lambda: _thinking(0.0),
    "thinking longer": lambda: _thinking(0.0, until_s=0.08),
    "2% unanswered": lambda: _thinking(0.02),
    "half unanswered": lambda: _thinking(0.5),
    "95% unanswered": lambda: _thinking(0.95),
    "one whole": lambda: _mixed(1 / _COUNT),
    "2% whole": lambda: _mixed(0.02),
    "half whole": lambda: _mixed(0.5),
    "all whole": lambda: _mixed(1.0),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Measurement]:
    """A run by name, made once."""
    return functools.cache(lambda name: measurement(tmp_path_factory.mktemp("run"), _RUNS[name](), goodput="tpot:50"))


Saved = Callable[[str], Measurement]


def _labels(summary: Summary) -> list[Label]:
    return [finding.label for finding in findings(summary)]


def _judged(rule: str, run: Measurement) -> Judgement:
    return judge(parse_rule(rule), run)


class TestThinking:
    """The first token and the first token of the answer are two metrics."""

    def test_both_are_told_where_a_model_thinks_aloud(self, saved: Saved) -> None:
        run = saved("thinking")
        ttft, ttfa = (run.summary.metrics[metric]["chat"] for metric in ("ttft", "ttfa"))
        assert ttfa.p50_ms == pytest.approx(ttft.p50_ms + 50, rel=0.02)
        assert (ttfa.count, ttfa.cut_off, ttfa.verdict) == (_COUNT, 0, State.NOT_JUDGED)
        assert _judged("ttfa.p99 <= 200ms", run).outcome is Outcome.PASS
        assert _judged("ttfa.p50 <= 80ms", run).outcome is Outcome.FAIL
        assert _labels(run.summary) == [Label.OK]
        assert any("1,200 answers of 1,200 began with reasoning" in warning for warning in run.summary.warnings)
        assert "ttfa.chat" in run.histograms

    def test_nothing_is_said_twice_where_none_does(self, saved: Saved) -> None:
        run = saved("usual")
        assert "ttfa" not in run.summary.metrics
        assert not any(tag.startswith("ttfa") for tag in run.histograms)
        unknown = _judged("ttfa.p99 <= 200ms", run)
        assert unknown.outcome is Outcome.INCONCLUSIVE
        assert unknown.reason == "no request has reasoning, so that ttfa is ttft: judge that"

    def test_two_processes_of_which_one_saw_reasoning_tell_it_of_all(self) -> None:
        one, other = Recorder(), Recorder()
        for result in _answers():
            one.add(result)
        for result in _thinking(0.0):
            other.add(result)
        one.merge(other)
        summary = fill_summary(Summary(), one, LENGTH_S)
        assert summary.metrics["ttfa"]["all"].count == 2 * _COUNT

    def test_of_answers_that_never_came_there_are_lower_bounds_and_the_few_others_do_not_stand_for_them(
        self, saved: Saved
    ) -> None:
        run = saved("95% unanswered")
        ttfa = run.summary.metrics["ttfa"]["chat"]
        assert (ttfa.count, ttfa.cut_off) == (_COUNT, 1140)
        assert ttfa.p50_ms == ttfa.max_ms, "of the 5% that answered it would be 100 ms"
        unanswered, verdict = findings(run.summary)
        assert unanswered.label is Label.NOT_TRUSTED
        assert unanswered.words.startswith("ttfa: 1,140 of 1,200 requests ended without an answer token")
        assert verdict.label is Label.OK
        assert "ttfa" not in verdict.words
        assert any("1,140 ended inside of it" in warning for warning in run.summary.warnings)

    @pytest.mark.parametrize(
        ("rule", "outcome"),
        [
            ("ttfa.p50 <= 2s", Outcome.INCONCLUSIVE),
            ("ttfa.p50 <= 120ms", Outcome.FAIL),
            ("ttfa.mean <= 2s", Outcome.INCONCLUSIVE),
            ("ttfa.max <= 2s", Outcome.INCONCLUSIVE),
            ("ttfa.p50 >= 2s", Outcome.INCONCLUSIVE),
            ("ttfa.p50 >= 100ms", Outcome.PASS),
            ("ttft.p99 <= 200ms", Outcome.PASS),
            ("e2e.p99 <= 1s", Outcome.PASS),
        ],
    )
    def test_rules_pass_only_if_they_would_whatever_the_answers_took(
        self, saved: Saved, rule: str, outcome: Outcome
    ) -> None:
        assert _judged(rule, saved("95% unanswered")).outcome is outcome

    def test_a_few_unanswered_leave_the_median_and_take_the_p99(self, saved: Saved) -> None:
        run = saved("2% unanswered")
        assert _judged("ttfa.p50 <= 120ms", run).outcome is Outcome.PASS
        assert _judged("ttfa.p99 <= 2s", run).outcome is Outcome.INCONCLUSIVE

    def test_lower_bounds_are_compared_with_nothing(self, saved: Saved) -> None:
        runs = {"a": saved("thinking"), "b": saved("half unanswered")}
        found = compare(runs)
        said = [
            finding.words for finding in comparison_findings(found, {name: one.summary for name, one in runs.items()})
        ]
        assert [words for words in said if words.startswith("b: ttfa: 600 of 1,200 requests ended without")]
        (target,) = found.targets
        of_ttfa = {one.verdict for one in target.differences if one.metric == "ttfa"}
        assert of_ttfa == {Verdict.UNTRUSTED}
        assert Verdict.UNTRUSTED not in {one.verdict for one in target.differences if one.metric == "ttft"}

    def test_models_that_think_longer_come_out_worse(self, saved: Saved) -> None:
        runs = {"a": saved("thinking"), "b": saved("thinking longer")}
        (target,) = compare(runs).targets
        verdicts = {one.name: one.verdict for one in target.differences}
        assert verdicts["ttfa p50"] is Verdict.WORSE
        assert verdicts["ttft p50"] is Verdict.SAME

    def test_objectives_are_not_met_by_an_answer_that_never_came(self) -> None:
        never, soon = _thinking(1.0, count=1), _thinking(0.0, count=1)
        objectives = parse_objectives("ttfa:2000")
        assert [meets(result, objectives) for result in (*never, *soon)] == [False, True]

    def test_reasoning_that_is_not_shown_is_said(self, tmp_path: Path) -> None:
        run = measurement(tmp_path, _answers(reasoning_tokens=100, output_tokens=111, max_tokens=111))
        assert run.summary.metrics["tpot"]["chat"].p50_ms == pytest.approx(10, rel=0.1)
        assert any("the model thought without showing it" in warning for warning in run.summary.warnings)
        assert not run.summary.slowdown, "of its ttft nobody knows how much was thinking"


class TestNotStreamed:
    """Of answers that come all at once only the end has a time."""

    @pytest.mark.parametrize(("name", "whole"), [("2% whole", "24"), ("half whole", "600"), ("all whole", "1,200")])
    def test_only_whole_requests_are_judged(self, saved: Saved, name: str, whole: str) -> None:
        run = saved(name)
        first, verdict = findings(run.summary)
        assert first.label is Label.NOT_STREAMED
        assert first.first_sentence == f"{whole} of 1,200 answers of class chat were not streamed"
        assert verdict.label is Label.OK
        assert verdict.words.split(". ")[0].endswith(" the median of e2e"), "and of nothing else"
        states = {metric: by_class["chat"].verdict for metric, by_class in run.summary.metrics.items()}
        assert states.pop("e2e") is State.OK
        assert {states[name] for name in ("ttft", "itl", "tpot", "max_gap") if name in states} == {State.NOT_STREAMED}
        assert set(run.summary.slowdown) <= {"e2e"}

    @pytest.mark.parametrize("name", ["2% whole", "all whole"])
    def test_rules_on_what_streams_is_made_of_are_inconclusive(self, saved: Saved, name: str) -> None:
        for metric, rule in itertools.product(
            ("ttft", "fresh_ttft", "itl", "tpot", "max_gap"), ("p50 <= 1s", "p99 <= 1ms", "mean <= 1s", "p99/p50 <= 3")
        ):
            judgement = _judged(f"{metric}.{rule}", saved(name))
            assert judgement.outcome is Outcome.INCONCLUSIVE, judgement.words
            assert judgement.reason.endswith("of 1,200 answers were not streamed")

    def test_rules_on_slowdowns_too_and_those_on_e2e_hold(self, tmp_path: Path, saved: Saved) -> None:
        run = saved("half whole")
        assert _judged("e2e.p99 <= 1s", run).outcome is Outcome.PASS
        assert _judged("e2e.p99/p50 <= 3", run).outcome is Outcome.PASS
        run = measurement(tmp_path, _mixed(0.5), idle=_IDLE)
        assert _judged("ttft.slowdown.p99 <= 5", run).reason == "600 of 1,200 answers were not streamed"
        assert _judged("e2e.slowdown.p99 <= 5", run).outcome is Outcome.PASS

    def test_one_in_hundreds_is_a_note_and_decides_a_maximum(self, saved: Saved) -> None:
        run = saved("one whole")
        assert _labels(run.summary) == [Label.OK]
        assert "1 answer of 1,200 not streamed: as one JSON, or all in one burst" in run.summary.warnings
        assert _judged("ttft.p99 <= 200ms", run).outcome is Outcome.PASS
        assert _judged("ttft.mean <= 200ms", run).outcome is Outcome.PASS
        assert _judged("ttft.max <= 10s", run).outcome is Outcome.INCONCLUSIVE
        assert _judged("ttft.p99.9 <= 10s", run).outcome is Outcome.INCONCLUSIVE

    def test_classes_are_told_apart(self, tmp_path: Path) -> None:
        mixed = [*_answers(), *_answers(wait_ms=150.0, num_gaps=0, was_streamed=False, traffic_class="json")]
        run = measurement(tmp_path, mixed)
        assert run.summary.metrics["ttft"]["chat"].verdict is State.OK
        assert run.summary.metrics["ttft"]["json"].verdict is State.NOT_STREAMED
        assert run.summary.metrics["e2e"]["json"].verdict is State.OK
        assert _judged("chat.ttft.p99 <= 200ms", run).outcome is Outcome.PASS
        assert _judged("json.ttft.p99 <= 200ms", run).outcome is Outcome.INCONCLUSIVE

    def test_answers_of_one_token_are_as_streamed_as_they_can_be(self, tmp_path: Path) -> None:
        run = measurement(tmp_path, _answers(num_gaps=0, was_streamed=False, output_tokens=1, max_tokens=1))
        assert Label.NOT_STREAMED not in _labels(run.summary)
        assert _judged("ttft.p50 <= 200ms", run).outcome is Outcome.PASS

    def test_objectives_on_gaps_are_not_met_and_a_sweep_says_why(self, saved: Saved) -> None:
        (whole,) = _answers(1, num_gaps=0, was_streamed=False)
        assert [meets(whole, parse_objectives(text)) for text in ("tpot:50", "max_gap:50", "e2e:1000")] == [
            *(False, False, True)
        ]
        run = saved("half whole")
        assert why_not(run.summary, 0.9) == [
            "50.0% met the objectives, of 90.0% required",
            "600 of 1,200 answers were not streamed",
        ]

    def test_a_server_that_streams_is_not_compared_with_one_that_does_not(self, saved: Saved) -> None:
        runs = {"a": saved("usual"), "b": saved("all whole")}
        (target,) = compare(runs).targets
        by_metric = {one.metric: one.verdict for one in target.differences if one.statistic == "p50"}
        assert by_metric["ttft"] is Verdict.UNTRUSTED
        assert by_metric["e2e"] is not Verdict.UNTRUSTED


class TestMalformed:
    """What could not be read is counted."""

    @pytest.mark.parametrize(("every", "label"), [(20, Label.NOT_TRUSTED), (1200, Label.OK)])
    def test_it_is_a_doubt_or_a_note(self, tmp_path: Path, every: int, label: Label) -> None:
        results = list(_answers())
        for result in results[::every]:
            result.malformed_events = 2
        run = measurement(tmp_path, results)
        num = _COUNT // every
        assert _labels(run.summary) == [label]
        said = [*run.summary.warnings, *(finding.words for finding in findings(run.summary))]
        assert any("could not be read" in words and f"{2 * num}" in words for words in said)
        expected = Outcome.INCONCLUSIVE if every == 20 else Outcome.PASS
        assert _judged("ttft.p99 <= 200ms", run).outcome is expected
        assert _judged("errors < 5%", run).outcome is Outcome.PASS, "the request itself did not fail"


class TestRetries:
    """Connections that the server closed."""

    def test_two_in_a_hundred_make_the_p99_and_are_named(self, tmp_path: Path) -> None:
        results = list(_answers())
        for result in results[::50]:
            assert result.first_s is not None
            # The time was lost with the old connection; opening a new one was quick.
            result.first_s, result.end_s = result.first_s + 0.4, result.end_s + 0.4
            result.retries, result.connect_s, result.dns_s, result.tls_s = 1, 0.03, 0.01, 0.02
        run = measurement(tmp_path, results)
        found = findings(run.summary)
        assert found[0].label is Label.FLAGGED
        assert "because requests waited for new connections" in found[0].words
        assert run.summary.attribution is not None
        assert run.summary.attribution.causes["ttft"].likely == [Cause.CONNECTION]
        assert connection_facts(run.summary) == (
            "24 opened for 1,200 requests, 30.00 ms on average (names 10.00 ms, TLS 20.00 ms), 30.00 ms at most; "
            "24 requests sent again on a new one, because the server had closed the old one; that is part of their "
            "latency"
        )
        header, row, *_ = render_csv([shown_run(run.rounds[0])]).splitlines()
        cells = dict(zip(header.split(","), row.split(","), strict=True))
        assert [cells[name] for name in ("connections_opened", "retried")] == ["24", "24"]
        assert [cells[f"{name}_mean_ms"] for name in ("connect", "dns", "tls")] == ["30.0", "10.0", "20.0"]

    def test_those_that_failed_all_the_same_are_counted(self) -> None:
        recorder = Recorder()
        recorder.add(make_result(error="disconnected", retries=1, connect_s=0.2))
        recorder.add(make_result())
        made = fill_summary(Summary(), recorder, 10.0).connections
        assert (made.opened, made.retried, made.retries, made.longest_s) == (1, 1, 1, 0.2)
