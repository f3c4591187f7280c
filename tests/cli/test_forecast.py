"""What a run says before it starts: it must be what the run then does, and what its verdict is enough for."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from abatch.cli.forecast.clock import Length, clock_time, lasting, length_of
from abatch.cli.forecast.drawing import MOST_DRAWN, draw
from abatch.cli.forecast.forecast import Forecast, forecast
from abatch.cli.forecast.words import run_in_words
from abatch.cli.measuring.measure import run
from abatch.cli.measuring.plan import Plan
from abatch.cli.measuring.traffic import TrafficRecipe
from abatch.cli.options.engine import EngineOptions
from abatch.cli.options.plan import plan_run
from abatch.cli.options.report import ReportOptions
from abatch.cli.options.target import TargetOptions
from abatch.cli.options.traffic import TrafficOptions
from abatch.engine.errors import ConfigurationError
from abatch.reports.recording.recorder import TTFA
from abatch.reports.summary.finding import Label
from abatch.reports.summary.findings import findings
from abatch.reports.summary.state import MIN_SAMPLES, State, samples_to_judge
from abatch.workloads.run_limits import RunLimits
from abatch.workloads.session import Session, Turn

_NOW = datetime(2026, 3, 5, 14, 30, 50)


def planned(folder: Path | None = None, url: str | None = None, **traffic: Any) -> Plan:
    """A run on a simulated device, or of a server that is not asked for anything."""
    engine = EngineOptions(device="simulated:h100") if url is None else EngineOptions()
    target = TargetOptions(url=url)
    return plan_run(target, TrafficOptions(**traffic), engine, ReportOptions(), folder=folder)


def told(plan: Plan) -> list[str]:
    expected = forecast(plan.traffic)
    return run_in_words(expected, plan, length_of(expected, plan).end(_NOW))


@pytest.mark.parametrize(
    "traffic",
    [
        {"workload": "chat-short", "session_rate": 4.0, "duration_s": 40.0},
        {"workload": "chat-short", "session_rate": 8.0, "duration_s": 40.0},
        {"workload": "agent-tools", "num_sessions": 32, "concurrency": 32, "time_scale": 0.1},
    ],
    ids=["too few for p99", "enough", "agents, a number of sessions"],
)
def test_what_is_said_is_what_comes_and_the_verdict_agrees(tmp_path: Path, traffic: dict[str, Any]) -> None:
    plan = planned(tmp_path / "run", **traffic, output_len=8, input_len=16)
    expected = forecast(plan.traffic)
    summary = run(plan).summary
    assert summary.requests + summary.warmup_requests == pytest.approx(expected.num_requests, rel=0.1)
    for metric in {metric for metric, _ in expected.samples} - {TTFA}:
        for name in summary.metrics.get(metric, {}):
            counted = summary.metrics[metric][name].count
            assert counted == pytest.approx(expected.samples[metric, name], rel=0.12, abs=12), (metric, name)
    said = run_in_words(expected, plan, "")[0]
    is_too_few = summary.metrics["ttft"]["all"].verdict is State.TOO_FEW or any(
        finding.label is Label.NOT_ENOUGH_DATA for finding in findings(summary)
    )
    assert ("too few for p99" in said) == (summary.metrics["ttft"]["all"].count < MIN_SAMPLES)
    assert is_too_few <= ("too few for p99" in said)


def test_the_length_that_it_asks_for_is_enough(tmp_path: Path) -> None:
    first, advice = told(planned(workload="chat-short", session_rate=4.0, duration_s=20.0, output_len=8))
    assert "too few for p99" in first
    longer = float(advice.removeprefix("-d ").removesuffix(" would be enough for p99"))
    assert 20 < longer < 60
    plan = planned(tmp_path / "run", workload="chat-short", session_rate=4.0, duration_s=longer, output_len=8)
    assert "enough for p99 (not p99.9)" in told(plan)[0]
    assert run(plan).summary.metrics["ttft"]["all"].count >= MIN_SAMPLES


@pytest.mark.parametrize(
    ("traffic", "lines"),
    [
        (
            {"workload": "chat-short", "session_rate": 20.0, "duration_s": 60.0},
            [
                "up to 47.2 requests/s (20 sessions/s), about 1,975 requests in 60 s, 1,889 after the warm-up: enough "
                "for p99 (not p99.9) unless requests queue; ends about 14:32"
            ],
        ),
        (
            {"workload": "chat-short", "request_rate": 10.0, "turns": 1, "duration_s": 600.0, "arrival": "constant"},
            [
                "10 requests/s, about 6,000 requests in 10 min, 5,950 after the warm-up: enough for p99.9 unless "
                "requests queue; ends about 14:41"
            ],
        ),
        (
            {"workload": "mixed", "duration_s": 3600.0},
            [
                "28 chat, 20 agent, 8 always-on sessions at a time, for 1 h: how many requests that comes to depends "
                "on the server (p99 takes 310 of class chat); ends about 15:31"
            ],
        ),
        (
            {"workload": "hol-probe", "duration_s": 40_000.0},
            [
                "16 decode sessions at a time, 0.5 requests/s, for 11 h 7 min: how many requests that comes to depends "
                "on the server (p99 takes 310 of class decode); ends about Fri 01:37"
            ],
        ),
        (
            {"workload": "agent-tools", "num_sessions": 2, "tool_pause_s": 100.0, "turns": 3, "concurrency": 2},
            [
                "2 sessions with 6 requests, 2 at a time: too few for p99; ends with the last session, not before "
                "14:32",
                "--num-sessions 110 would be enough for p99",
            ],
        ),
        (
            {"workload": "chat-short", "turns": 2, "request_rate": 20.0, "num_requests": 200, "arrival": "constant"},
            [
                "up to 20 requests/s (10 sessions/s), 200 requests: too few for p99 (enough for p90); ends about 14:31",
                "--num-requests 310 would be enough for p99",
            ],
        ),
        (
            {"workload": "mixed", "duration_s": 3600.0, "num_requests": 900},
            [
                "28 chat, 20 agent, 8 always-on sessions at a time, for 1 h, 900 requests at most: how many requests "
                "that comes to depends on the server (p99 takes 310 of class chat); ends between 14:30 and 15:31"
            ],
        ),
    ],
    ids=["open loop", "one turn", "closed loops", "both kinds", "a number of sessions", "of requests", "either"],
)
def test_the_words(traffic: dict[str, Any], lines: list[str]) -> None:
    assert told(planned(url="http://127.0.0.1:1", **traffic)) == lines


def test_the_warm_up_the_probe_and_the_drain_count_into_the_end() -> None:
    def length(drain_s: float = 30.0, **target: int) -> Length:
        traffic = TrafficOptions(workload="chat-short", duration_s=600.0, drain_s=drain_s, cache="warm")
        options = TargetOptions(url="http://127.0.0.1:1", **target)  # type: ignore[arg-type]
        plan = plan_run(options, traffic, EngineOptions(), ReportOptions())
        return length_of(forecast(plan.traffic), plan)

    assert length() == Length(600.0, 600.0 + 5 + 60 + 30)
    assert length(drain_s=900.0, idle_probe=0) == Length(600.0, 600.0 + 60 + 900)
    assert length(drain_s=900.0).times(2).end(_NOW) == "ends between 14:50 and 15:23"


def test_a_long_run_is_drawn_in_part_and_counted_whole() -> None:
    def known(duration_s: float) -> Forecast:
        return forecast(planned(workload="chat-short", session_rate=50.0, duration_s=duration_s).traffic)

    short, long = known(100.0), known(10_000.0)
    assert [len(one.turns) for one in long.drawn] == [pytest.approx(MOST_DRAWN, abs=20)]
    assert long.num_requests == pytest.approx(100 * 50 * 100 * 2.31, rel=0.03), "as the presets mean it"
    assert short.num_requests < 100 * 50 * 2.31


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.5, "0.5 s"), (90, "90 s"), (330, "5 min 30 s"), (2820, "47 min"), (3600, "1 h"), (8100, "2 h 15 min")],
)
def test_lengths_are_said_as_people_say_them(seconds: float, words: str) -> None:
    assert lasting(seconds) == words


def test_the_day_is_told_where_it_is_another() -> None:
    assert [clock_time(days * 86_400.0, _NOW) for days in (0, 1, 10)] == ["14:30", "Fri 14:30", "Mar 15 14:30"]


def test_nothing_is_said_from_python(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run(planned(tmp_path / "run", workload="chat-short", num_sessions=1, turns=1))
    assert capfd.readouterr() == ("", "")
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["requests"] == 1


def test_a_verdict_and_a_forecast_need_the_same_number() -> None:
    assert samples_to_judge(0.99, is_exact=True) == MIN_SAMPLES == 300
    assert samples_to_judge(0.99, is_exact=False) == 310
    assert samples_to_judge(0.999, is_exact=True) == 3000


def test_only_a_trace_may_be_without_a_limit() -> None:
    endless = RunLimits(duration_s=None)
    with pytest.raises(ConfigurationError, match="give --duration or --num-sessions, or the run would never end"):
        TrafficRecipe(workload="chat-short", limits=endless).make()


def test_what_stands_behind_a_session_that_starts_too_late_is_not_sent_either() -> None:
    """A run starts the sessions of a trace in order."""
    session = Session("s", "chat", (Turn(5, 1), Turn(5, 1)))
    drawn = draw([(0.0, session), (100.0, session), (5.0, session)], 60.0, is_recorded=True)
    assert (drawn.num_sessions, drawn.unsent_sessions, drawn.unsent_turns) == (1, 2, 4)
    assert draw([(0.0, session), (100.0, session)], None, is_recorded=True).num_sessions == 2
