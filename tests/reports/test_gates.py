"""Rules: what they say, and what they say when they are wrong."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from abatch.engine.errors import ConfigurationError
from abatch.reports.gates import Outcome, parse_rule
from abatch.reports.recorder import METRICS, Recorder
from abatch.reports.summary import Summary, fill_summary
from hypothesis import given, settings
from hypothesis import strategies as st
from support.results import make_result


def summary(count: int = 1000) -> Summary:
    """ttft: p50 10 ms, p99 40 ms. One request in 500 fails."""
    recorder = Recorder()
    for index in range(count):
        recorder.add(make_result(40.0 if index % 40 == 0 else 10.0, error="timeout" if index % 500 == 7 else None))
    return fill_summary(Summary(), recorder, count / 10)


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
        ("errors < 0.1%", Outcome.FAIL),
        ("errors < 1%", Outcome.PASS),
        ("errors <= 0.005", Outcome.PASS),
        ("errors <= 0.0025", Outcome.INCONCLUSIVE),
        ("dropped_arrivals == 0", Outcome.PASS),
        ("achieved_rate >= 9.9", Outcome.PASS),
        ("achieved_rate >= 10.1", Outcome.FAIL),
        ("agent.ttft.p50 < 1s", Outcome.INCONCLUSIVE),
        ("resume_ttft.p50 < 1s", Outcome.INCONCLUSIVE),
        ("ttft.p99.9 < 1s", Outcome.INCONCLUSIVE),
    ],
)
def test_rules_are_judged(rule: str, outcome: Outcome) -> None:
    judgement = parse_rule(rule).judge(summary())
    assert judgement.outcome is outcome, judgement.reason
    assert judgement.rule == rule.strip()
    assert judgement.reason


def test_too_few_samples_are_never_a_pass() -> None:
    few = summary(299)
    assert parse_rule("ttft.p99 < 1s").judge(few).outcome is Outcome.INCONCLUSIVE
    assert parse_rule("ttft.p99/p50 < 100").judge(few).outcome is Outcome.INCONCLUSIVE
    assert parse_rule("ttft.p50 < 1s").judge(few).outcome is Outcome.PASS
    clean = Summary(requests=24, succeeded=24)
    assert parse_rule("errors < 0.1%").judge(clean).outcome is Outcome.INCONCLUSIVE
    assert parse_rule("errors < 20%").judge(clean).outcome is Outcome.PASS
    assert parse_rule("errors == 0").judge(clean).outcome is Outcome.PASS, "this is about the run, not beyond it"
    unfinished = Summary(requests=1000, succeeded=900, censored=100)
    assert parse_rule("errors < 5%").judge(unfinished).outcome is Outcome.INCONCLUSIVE


def test_a_run_in_which_nothing_succeeded_passes_nothing() -> None:
    assert parse_rule("errors <= 100%").judge(Summary(errors={"connect": 5})).outcome is Outcome.INCONCLUSIVE


def test_a_tail_that_was_cut_off_is_never_a_pass() -> None:
    """2% were cut off after 1 s: p50 is known, p99 may be anything above."""
    recorder = Recorder()
    for index in range(1000):
        fields: dict[str, Any] = (
            {"first_s": None, "end_s": 1.0, "censored": True, "gaps_ms": ()} if index % 50 == 0 else {}
        )
        recorder.add(make_result(10.0, **fields))
    cut = fill_summary(Summary(), recorder, 100.0)
    assert parse_rule("ttft.p50 < 100ms").judge(cut).outcome is Outcome.PASS
    assert parse_rule("ttft.p90 < 100ms").judge(cut).outcome is Outcome.PASS
    assert parse_rule("ttft.p99 < 60s").judge(cut).outcome is Outcome.INCONCLUSIVE
    assert parse_rule("ttft.p99 < 100ms").judge(cut).outcome is Outcome.FAIL, "a lower bound over the limit is enough"


@pytest.mark.parametrize(
    "fields", [{"error": "http_500"}, {"sent_s": 0.5}], ids=["mostly failures", "a client that was late"]
)
def test_a_run_that_cannot_be_trusted_passes_nothing(fields: dict[str, Any]) -> None:
    recorder = Recorder()
    for index in range(1000):
        recorder.add(make_result(10.0, **(fields if index % 10 == 0 else {})))
    doubtful = fill_summary(Summary(), recorder, 100.0)
    assert parse_rule("ttft.p50 < 60s").judge(doubtful).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("rule", "column", "expected"),
    [
        ("", 1, "a metric"),
        ("latency.p99 < 1s", 1, "a metric"),
        ("ttft < 1s", 1, "a metric"),
        ("ttft.p98 < 1s", 1, "a metric"),
        ("ttft.p999 < 1s", 1, "a metric"),
        ("ttft.p99 1s", 9, "one of"),
        ("ttft.p99 => 1s", 9, "one of"),
        ("ttft.p99/p5 < 1", 9, "one of"),
        ("ttft.p99 <", 11, "a number"),
        ("ttft.p99 < fast", 12, "a number"),
        ("ttft.p99 < 1s please", 12, "a number"),
        ("ttft.p99 < 500", 12, "500ms"),
        ("ttft.p99 < 5%", 12, "a time"),
        ("ttft.p99/p50 < 3ms", 17, "no unit"),
        ("dropped_arrivals < 3%", 21, "no unit"),
        ("errors < 3ms", 11, "no unit"),
        ("errors <= 5", 11, "or 5%"),
    ],
)
def test_a_wrong_rule_is_one_line_that_points_at_the_column(rule: str, column: int, expected: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_rule(rule)
    assert f"column {column}:" in str(caught.value)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=30))
@settings(derandomize=True)
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
@settings(derandomize=True)
def test_every_rule_of_the_grammar_parses(
    metric: str, statistic: str, prefix: str, comparison: str, bound: object, unit: str
) -> None:
    rule = parse_rule(f"{prefix}{metric}.{statistic} {comparison} {bound}{unit}")
    assert (rule.metric, rule.statistic, rule.comparison) == (metric, statistic, comparison)
    assert rule.traffic_class == (prefix[:-1] or "all")
