"""Runs compare only if the same traffic was sent: which options say otherwise, and what nobody knows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from abatch.cli.measuring.traffic import TrafficRecipe
from abatch.cli.options.recipe import make_traffic
from abatch.cli.options.traffic import TrafficOptions
from abatch.reports.comparison.comparison import compare
from abatch.reports.comparison.difference import Verdict
from abatch.reports.comparison.same_traffic import is_same_traffic, traffic_notes, why_traffic_differs
from abatch.reports.gates.judge import Outcome, judge
from abatch.reports.gates.parser import parse_rule
from abatch.reports.run.config import RunConfig
from abatch.workloads.presets.catalog import WORKLOADS
from abatch.workloads.workload import TRAFFIC_VERSION
from support.measured import measurement, noisy


def _config(**options: Any) -> RunConfig:
    return RunConfig(traffic=make_traffic(TrafficOptions(**options)).fingerprint)


def _why(**options: Any) -> str | None:
    return why_traffic_differs((_config(), "the baseline"), (_config(**options), "this run"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"output_len": 64}, "--osl 64 in this run, not given in the baseline"),
        ({"input_len": 64}, "--isl 64 in"),
        ({"turns": 2}, "--turns 2 in"),
        ({"context_scale": 0.5}, "--context-scale 0.5 in this run, 1 in the baseline"),
        ({"time_scale": 0.5}, "--time-scale 0.5 in"),
        ({"pause_cap_s": 1.0}, "--pause-cap 1 in this run, 10 in the baseline"),
        ({"tool_pause_s": 1.0}, "--tool-pause 1 in"),
        ({"concurrency": 3}, "--concurrency 3 in"),
        ({"request_rate": 3.0}, "--request-rate 3 in"),
        ({"session_rate": 3.0}, "--session-rate 3 in"),
        ({"max_in_flight": 3}, "--max-in-flight 3 in"),
        ({"sub_agents": 0.5}, "--sub-agents 0.5 in"),
        ({"synchronised": True}, "--synchronised True in"),
        ({"cache": "warm"}, "--cache warm in this run, cold in the baseline"),
    ],
)
def test_other_work_or_another_pace_does_not_compare(options: dict[str, Any], says: str) -> None:
    why = _why(**options)
    assert why is not None
    assert why.startswith(f"they were not sent the same traffic: {says}")
    assert not is_same_traffic(_config(), _config(**options))


@pytest.mark.parametrize(
    "options", [{"seed": 1}, {"duration_s": 20.0}, {"num_sessions": 7}, {"warmup_s": 1.0}, {"drain_s": 1.0}]
)
def test_other_draws_or_more_of_them_compare_but_not_in_pairs(options: dict[str, Any]) -> None:
    assert _why(**options) is None
    assert not is_same_traffic(_config(), _config(**options))
    (note,) = traffic_notes(_config(), _config(**options))
    assert note.startswith("the traffic was not the same (--")


def test_the_texts_alone_are_no_other_traffic() -> None:
    assert is_same_traffic(_config(text_salt="a"), _config(text_salt="b"))


def test_many_differences_are_not_all_named() -> None:
    why = _why(output_len=1, input_len=1, turns=1, context_scale=2.0, time_scale=2.0, sub_agents=0.5)
    assert why is not None
    assert why.endswith("; and 2 more")


def test_a_trace_is_known_by_its_content(tmp_path: Path) -> None:
    def config(path: Path, text: str) -> RunConfig:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return RunConfig(traffic=make_traffic(TrafficOptions(trace=str(path))).fingerprint)

    row = '{"input_length": %d, "output_length": 3}\n'
    here, moved = config(tmp_path / "a" / "trace.jsonl", row % 5), config(tmp_path / "b" / "trace.jsonl", row % 5)
    assert is_same_traffic(here, moved)
    edited = config(tmp_path / "c" / "trace.jsonl", row % 6)
    assert "the content of the trace" in (why_traffic_differs((here, "a"), (edited, "c")) or "")


def test_what_an_older_run_does_not_say_is_unknown_and_no_reason_to_refuse() -> None:
    now = _config()
    older = RunConfig(
        traffic={key: value for key, value in now.traffic.items() if key not in ("cache", "traffic_version")}
    )
    assert why_traffic_differs((older, "a"), (now, "b")) is None
    assert is_same_traffic(older, now)
    (note,) = traffic_notes(older, now)
    assert note.startswith("whether the traffic agrees in --cache, the version of the traffic is unknown")
    (note,) = traffic_notes(RunConfig(), now)
    assert note.startswith("whether the traffic was the same is unknown")
    newer = RunConfig(traffic=now.traffic | {"traffic_version": TRAFFIC_VERSION + 1})
    assert "the version of the traffic" in (why_traffic_differs((now, "a"), (newer, "b")) or "")


def test_a_gate_and_a_comparison_name_the_option_and_no_winner(tmp_path: Path) -> None:
    """A baseline of 256 output tokens passed a run of 64 at -85%."""
    base = measurement(tmp_path / "base", noisy(1), traffic={"seed": 1, "output_len": 256})
    run = measurement(tmp_path / "run", noisy(1, factor=0.2), traffic={"seed": 1, "output_len": 64})
    for rule in ("e2e.p99 <= baseline + 10%", "ttft.p50 <= baseline", "achieved_rate >= 90% of baseline"):
        judgement = judge(parse_rule(rule), run, base)
        assert judgement.outcome is Outcome.INCONCLUSIVE
        assert judgement.reason == ("they were not sent the same traffic: --osl 64 in this run, 256 in the baseline")
    assert not traffic_notes(base.config, run.config), "it has been said that they do not compare at all"
    (target,) = compare({"base": base, "run": run}).targets
    assert target.verdict == (
        "Cannot compare run and base: they were not sent the same traffic: --osl 64 in run, 256 in base."
    )
    assert {one.verdict for one in target.differences} <= {Verdict.UNTRUSTED, Verdict.TOO_FEW}


def _drawn(sessions: Iterable[Any]) -> list[str]:
    return [repr(session) for session in islice(sessions, 20)]


def test_the_same_options_give_the_traffic_of_this_version() -> None:
    """If this fails because a preset draws otherwise, raise `TRAFFIC_VERSION`: runs before and after do not compare."""
    text = hashlib.blake2b(digest_size=8)
    for name in sorted(WORKLOADS):
        for stream in TrafficRecipe(workload=name).make().workload.streams:
            text.update("".join(_drawn(stream.sessions(0))).encode())
    for name in ("chat-short", "hol-probe"):
        text.update(repr(TrafficRecipe(workload=name, request_rate=10.0).make().rates).encode())
    assert (TRAFFIC_VERSION, text.hexdigest()) == (3, "390d58001dddad0b")
