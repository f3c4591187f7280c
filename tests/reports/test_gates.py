"""Rules: what they say, and what they say when they are wrong."""

from __future__ import annotations

import contextlib
import operator
import re
from typing import Any

import msgspec
import pytest
from abatch.engine.errors import ConfigurationError
from abatch.reports.gates.judge import Outcome
from abatch.reports.gates.parser import parse_rule
from abatch.reports.gates.rule import Bound
from abatch.reports.recording.recorder import METRICS, Recorder
from abatch.reports.statistics.interval import Interval
from abatch.reports.summary.statistic import P50
from abatch.reports.summary.summary import Summary, fill_summary
from hypothesis import given
from hypothesis import strategies as st
from support.results import make_result
from support.rules import judged


def summary(count: int = 1000) -> Summary:
    """ttft: p50 10 ms, p99 40 ms. One request in 500 fails."""
    recorder = Recorder()
    for index in range(count):
        recorder.add(make_result(40.0 if index % 40 == 0 else 10.0, error="timeout" if index % 500 == 7 else None))
    return fill_summary(Summary(), recorder, count / 10)


@pytest.fixture(scope="module")
def known() -> Summary:
    """A summary that several tests look at and none changes."""
    return summary()


@pytest.mark.parametrize(
    ("rule", "outcome"),
    [
        ("ttft.p99/p50 <= 3", Outcome.FAIL),
        ("ttft.p99/p50 <= 4.1", Outcome.PASS),
        ("ttft.p99 < 41ms", Outcome.PASS),
        ("ttft.p99<0.039s", Outcome.FAIL),
        ("ttft.p50 < 10100us", Outcome.PASS),
        ("chat.ttft.max > 39 ms", Outcome.PASS),
        ("  ttft.mean >= 100 ms ", Outcome.FAIL),
        ("errors < 0.05%", Outcome.FAIL),
        ("errors < 0.1%", Outcome.INCONCLUSIVE),
        ("errors < 1%", Outcome.PASS),
        ("errors <= 0.01", Outcome.PASS),
        ("errors <= 0.005", Outcome.INCONCLUSIVE),
        ("errors <= 0.0025", Outcome.INCONCLUSIVE),
        ("dropped_arrivals == 0", Outcome.PASS),
        ("achieved_rate >= 9.9", Outcome.PASS),
        ("achieved_rate >= 10.1", Outcome.FAIL),
        ("agent.ttft.p50 < 1s", Outcome.INCONCLUSIVE),
        ("resume_ttft.p50 < 1s", Outcome.INCONCLUSIVE),
        ("ttft.p99.9 < 1s", Outcome.INCONCLUSIVE),
    ],
)
def test_rules_are_judged(rule: str, outcome: Outcome, known: Summary) -> None:
    judgement = judged(rule, known)
    assert judgement.outcome is outcome, judgement.reason
    assert judgement.rule == rule.strip()
    assert judgement.reason


def test_too_few_samples_are_never_a_pass() -> None:
    few = summary(299)
    assert judged("ttft.p99 < 1s", few).outcome is Outcome.INCONCLUSIVE
    assert judged("ttft.p99/p50 < 100", few).outcome is Outcome.INCONCLUSIVE
    assert judged("ttft.p50 < 1s", few).outcome is Outcome.PASS
    clean = Summary(requests=24, succeeded=24)
    assert judged("errors < 0.1%", clean).outcome is Outcome.INCONCLUSIVE
    assert judged("errors < 20%", clean).outcome is Outcome.PASS
    assert judged("errors == 0", clean).outcome is Outcome.PASS, "this is about the run, not beyond it"
    unfinished = Summary(requests=1000, succeeded=900, censored=100)
    assert judged("errors < 5%", unfinished).outcome is Outcome.INCONCLUSIVE


def test_a_run_in_which_nothing_succeeded_passes_nothing() -> None:
    assert judged("errors <= 100%", Summary(errors={"connect": 5})).outcome is Outcome.INCONCLUSIVE


def test_a_tail_that_was_cut_off_is_never_a_pass() -> None:
    """2% were cut off after 1 s: p50 is known, p99 may be anything above."""
    recorder = Recorder()
    for index in range(1000):
        fields: dict[str, Any] = (
            {"first_s": None, "end_s": index / 20 + 1, "censored": True, "gaps_ms": ()} if index % 50 == 0 else {}
        )
        recorder.add(make_result(10.0, due_s=index / 20, **fields))
    cut = fill_summary(Summary(), recorder, 100.0)
    assert judged("ttft.p50 < 100ms", cut).outcome is Outcome.PASS
    assert judged("ttft.p90 < 100ms", cut).outcome is Outcome.PASS
    assert judged("ttft.p99 < 60s", cut).outcome is Outcome.INCONCLUSIVE
    assert judged("ttft.p99 < 100ms", cut).outcome is Outcome.FAIL, "a lower bound over the limit is enough"


@pytest.mark.parametrize(
    "fields", [{"error": "http_500"}, {"sent_s": 0.5}], ids=["mostly failures", "a client that was late"]
)
def test_a_run_that_cannot_be_trusted_passes_nothing(fields: dict[str, Any]) -> None:
    recorder = Recorder()
    for index in range(1000):
        recorder.add(make_result(10.0, **(fields if index % 10 == 0 else {})))
    doubtful = fill_summary(Summary(), recorder, 100.0)
    assert judged("ttft.p50 < 60s", doubtful).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("500ms", 500), ("0.5s", 500), ("0.5 s", 500), ("250us", 0.25), ("2m", 120_000), ("1m30s", 90_000)],
)
def test_bounds_are_durations(text: str, milliseconds: float) -> None:
    assert parse_rule(f"ttft.p99 <= {text}").bound == Bound(milliseconds)
    assert parse_rule(f"ttft.p99 <= baseline+{text}").bound == Bound(milliseconds, of="baseline")


@pytest.mark.parametrize(
    ("rule", "column", "expected"),
    [
        ("", 1, "a metric"),
        ("latency.p99 < 1s", 1, "a metric"),
        ("chat. < 1s", 6, "a metric"),
        ("chat.latency.p99 < 1s", 6, "a metric"),
        ("ttft < 1s", 5, "a statistic"),
        ("ttft.median < 1s", 6, "a statistic"),
        ("ttft.p999 < 1s", 6, "a statistic"),
        ("ttft.p0 < 1s", 6, "a statistic"),
        ("ttft.p99 1s", 10, "one of"),
        ("ttft.p99 => 1s", 10, "one of"),
        ("ttft.p99/ < 1", 10, "a statistic"),
        ("ttft.p99 <", 11, "a number"),
        ("ttft.p99 < fast", 12, "a number"),
        ("ttft.p99 < 1s please", 15, "nothing more"),
        ("ttft.p99 < 1 minute", 12, "a time"),
        ("ttft.p99 < 30s1m", 15, "nothing more"),
        ("errors < 1m30s", 11, "no unit"),
        ("ttft.p99 < 500", 12, "500ms"),
        ("ttft.p99 < 5%", 12, "a time"),
        ("ttft.p99/p50 < 3ms", 17, "no unit"),
        ("dropped_arrivals < 3%", 21, "no unit"),
        ("errors < 3ms", 11, "no unit"),
        ("errors <= 5", 11, "or 5%"),
        ("ttft.max <= baseline", 13, "max has no interval"),
        ("ttft.max/p50 <= 120% of baseline", 25, "a ratio has no interval"),
        ("late_arrivals <= baseline", 18, "a number"),
        ("offered_rate >= baseline", 17, "a number"),
        ("ttft.p99 <= baseline + 10", 24, "a time"),
        ("ttft.p99 <= baseline * 2", 22, "nothing more"),
        ("ttft.p99 <= baseline +", 23, "a number"),
        ("ttft.p99 <= basement", 13, "a number, or baseline"),
        ("ttft.p99 == baseline", 10, "<= or >="),
        ("ttft.p99 <= 95% of offered", 20, "baseline"),
        ("achieved_rate >= 95% of demand", 25, "baseline or offered"),
        ("achieved_rate >= 95%", 20, "no unit"),
        ("errors <= baseline + 5", 22, "or 5%"),
        ("v1.5.ttft.p99 < 1s", 4, "'v1.5'.ttft.p99"),
        ("'v1.5.ttft.p99 < 1s", 1, "in quotes"),
        ("''.ttft.p99 < 1s", 1, "in quotes"),
        ("'v1.5' < 1s", 7, "a dot and a metric"),
        ("'v1.5'.errors < 1%", 8, "a metric"),
    ],
)
def test_a_wrong_rule_is_one_line_that_points_at_the_column(rule: str, column: int, expected: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_rule(rule)
    assert f"column {column}:" in str(caught.value)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["v1.5", "chat@org/model-1.5:free", "Gespräch", "对话", "it's", 'a "b" c', "ttft", "a b"]
)
@pytest.mark.parametrize("quote", ["'", '"'])
def test_any_class_can_be_named_in_quotes(name: str, quote: str) -> None:
    quoted = quote + name.replace(quote, 2 * quote) + quote
    rule = parse_rule(f"{quoted}.ttft.p99/p50 <= 3")
    assert (rule.traffic_class, rule.metric, rule.divisor) == (name, "ttft", P50)
    slowdown = parse_rule(f"{quoted}.e2e.slowdown.p99 <= 105% of baseline")
    assert (slowdown.traffic_class, slowdown.is_slowdown) == (name, True)


def test_a_rule_on_a_quoted_class_is_judged() -> None:
    recorder = Recorder()
    for number in range(400):
        recorder.add(make_result(due_s=number / 10, traffic_class="chat@m.1"))
    summary = fill_summary(Summary(), recorder, 40.0)
    assert judged("'chat@m.1'.ttft.p50 <= 1s", summary).outcome is Outcome.PASS
    assert "classes are" in judged("'chat@m.2'.ttft.p50 <= 1s", summary).reason


@given(st.text(max_size=30))
def test_no_text_is_a_traceback(text: str) -> None:
    with contextlib.suppress(ConfigurationError):
        parse_rule(text)


@given(
    st.sampled_from(METRICS),
    st.sampled_from(["p50", "p90", "p99", "p99.9", "max", "mean"]),
    st.sampled_from(["", "chat.", "always-on."]),
    st.sampled_from(["<", "<=", ">", ">=", "=="]),
    st.decimals(0, 10_000, places=2),
    st.sampled_from(["us", "ms", "s"]),
)
def test_every_rule_of_the_grammar_parses(
    metric: str, statistic: str, prefix: str, comparison: str, bound: object, unit: str
) -> None:
    rule = parse_rule(f"{prefix}{metric}.{statistic} {comparison} {bound}{unit}")
    assert (rule.metric, rule.statistic.name, rule.comparison) == (metric, statistic, comparison)
    assert rule.traffic_class == (prefix[:-1] or "all")


_WORDS = (
    *(
        "ttft",
        "chat",
        ".",
        "p99",
        "/",
        "p50",
        " ",
        "<=",
        "<",
        "baseline",
        "+",
        "10",
        "%",
        "ms",
        "of",
        "offered",
        "errors",
    ),
    "achieved_rate",
)
_SPACE = st.sampled_from(["", " ", "  "])
_NUMBERS = st.decimals(0, 10_000, places=2).map(str)
_LATENCY_BOUNDS = st.one_of(
    st.tuples(_NUMBERS, st.sampled_from(["us", "ms", "s"])).map("".join),
    st.tuples(st.just("baseline"), _SPACE, st.sampled_from("+-"), _SPACE, _NUMBERS, st.sampled_from(["%", "ms"])).map(
        "".join
    ),
    st.tuples(_NUMBERS, st.just("%"), _SPACE, st.just("of baseline")).map("".join),
    st.just("baseline"),
)


@given(
    st.sampled_from(["", "chat.", "always-on."]),
    st.sampled_from(METRICS),
    st.sampled_from(["p50", "p95", "p99.99", "mean"]),
    st.sampled_from(["<", "<=", ">", ">="]),
    _LATENCY_BOUNDS,
    _SPACE,
)
def test_every_bound_of_the_grammar_parses_and_means_what_it_says(
    prefix: str, metric: str, statistic: str, comparison: str, bound: str, space: str
) -> None:
    rule = parse_rule(f"{prefix}{metric}.{statistic}{space}{comparison}{space}{bound}{space}")
    assert rule.needs_baseline == ("baseline" in bound)
    number = next((float(part) for part in re.findall(r"[0-9.]+", bound)), 0.0)
    sign = -1 if "-" in bound else 1
    if not rule.needs_baseline:
        expected = number * {"us": 1e-3, "ms": 1.0, "s": 1e3}[bound.lstrip("0123456789.")]
    elif "of baseline" in bound:
        expected = 80.0 * number / 100
    else:
        expected = 80.0 * (1 + sign * number / 100) if "%" in bound else 80.0 + sign * number
    assert rule.bound.value(80.0) == pytest.approx(expected)


@given(st.lists(st.sampled_from(_WORDS), max_size=9))
def test_no_sequence_of_its_words_is_a_traceback_and_what_is_taken_is_taken_the_same_again(words: list[str]) -> None:
    try:
        rule = parse_rule("".join(words))
    except ConfigurationError as error:
        match = re.search(r"column (\d+): expected ", str(error))
        assert match is not None
        assert 1 <= int(match[1]) <= len("".join(words).strip()) + 1
    else:
        assert parse_rule(rule.text) == rule


@given(
    value_ms=st.floats(0.5, 500),
    comparison=st.sampled_from(["<", "<=", ">", ">="]),
    bound_ms=st.floats(0.5, 500),
    reach=st.floats(0.0, 0.5),
)
def test_a_verdict_is_the_comparison_unless_the_interval_has_the_bound_within(
    known: Summary, value_ms: float, comparison: str, bound_ms: float, reach: float
) -> None:
    interval = Interval(value_ms * (1 - reach), value_ms * (1 + reach))
    ttft = msgspec.structs.replace(known.metrics["ttft"]["all"], p99_ms=value_ms, p99_interval_ms=interval)
    measured = msgspec.structs.replace(known, metrics={"ttft": {"all": ttft}})
    outcome = judged(f"ttft.p99 {comparison} {bound_ms:.6f}ms", measured).outcome
    holds = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}[comparison]
    bound = float(f"{bound_ms:.6f}")
    ends = [holds(end, bound) for end in (value_ms, value_ms * (1 - reach), value_ms * (1 + reach))]
    expected = Outcome.PASS if all(ends) else Outcome.INCONCLUSIVE if any(ends) else Outcome.FAIL
    assert outcome is expected


def test_a_metric_that_nothing_has_is_no_pass(known: Summary) -> None:
    assert judged("resume_ttft.p50 < 1s", known).reason == "no request has resume_ttft"
    assert "classes are all, chat" in judged("agent.ttft.p50 < 1s", known).reason


def test_a_run_that_did_not_finish_passes_nothing() -> None:
    interrupted = summary()
    interrupted.is_complete = False
    assert judged("ttft.p99 < 41ms", interrupted).outcome is Outcome.INCONCLUSIVE
    assert judged("ttft.p99 < 41ms", interrupted).reason.endswith("; but the run did not finish")
    assert judged("ttft.p99 < 39ms", interrupted).outcome is Outcome.FAIL
