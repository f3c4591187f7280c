"""Rates of requests, and the rates of sessions that they come to."""

from __future__ import annotations

from itertools import islice, takewhile
from pathlib import Path

import pytest
from abatch.cli.measuring.traffic import Traffic, TrafficRecipe
from abatch.cli.options.recipe import make_traffic
from abatch.cli.options.traffic import TrafficOptions
from abatch.engine.errors import ConfigurationError
from abatch.workloads.model_mix import parse_models
from abatch.workloads.presets.catalog import WORKLOADS, make_workload
from abatch.workloads.presets.scales import Scales
from abatch.workloads.session import Session, Turn
from abatch.workloads.traces.formats.native import write_session
from abatch.workloads.workload import ClosedLoop, OpenLoop, Rates

_ONE = Turn(1, 1)


def _made(**options: object) -> Traffic:
    return make_traffic(TrafficOptions(**options))  # type: ignore[arg-type]


def _requests(traffic: Traffic, length_s: float) -> float:
    """Requests per second of the sessions that really start in a time, with all their turns."""
    total = 0
    for stream in traffic.workload.streams:
        if isinstance(stream.pacing, OpenLoop):
            starts = takewhile(lambda start_s: start_s < length_s, stream.arrivals(traffic.seed))
            sessions = islice(stream.sessions(traffic.seed), sum(1 for _ in starts))
            total += sum(session.num_requests for session in sessions)
    return total / length_s


def test_requests_of_sub_agents_count() -> None:
    child = Session("child", "agent", (_ONE, _ONE))
    session = Session("parent", "agent", (_ONE, Turn(1, 1, children=(child, child)), _ONE))
    assert session.num_requests == 7


@pytest.mark.parametrize("name", ["chat-short", "chat-bursty", "agent-tools", "chat-bursty,chat-short"])
def test_as_many_requests_are_sent_as_asked_for(name: str) -> None:
    """A rate of 20 gave 41 requests per second: it was one of sessions."""
    traffic = _made(workload=name, request_rate=20.0, arrival="constant")
    assert _requests(traffic, 300.0) == pytest.approx(20.0, rel=0.03)
    assert traffic.rates is not None
    assert traffic.rates.sessions == pytest.approx(sum_of_rates(traffic))
    assert traffic.rates.requests == 20.0


def sum_of_rates(traffic: Traffic) -> float:
    """Sessions per second of all open loops."""
    return sum(stream.pacing.rate for stream in traffic.workload.streams if isinstance(stream.pacing, OpenLoop))


@pytest.mark.parametrize("name", [name for name in WORKLOADS if name != "hol-probe"])
def test_sessions_of_a_number_of_turns_are_counted_exactly(name: str) -> None:
    traffic = _made(workload=name, turns=4, request_rate=8.0)
    assert traffic.rates == Rates(2.0, 8.0)
    assert sum_of_rates(traffic) == pytest.approx(2.0)


def test_a_rate_of_sessions_says_its_requests() -> None:
    traffic = _made(workload="agent-tools", turns=5, session_rate=3.0)
    assert traffic.rates == Rates(3.0, 15.0)
    assert traffic.workload.streams[0].pacing == OpenLoop(3.0)


def test_shares_of_a_mix_are_of_sessions_that_start() -> None:
    """Its agents' sessions have thirty times the requests of its chats'."""
    traffic = _made(workload="mixed", request_rate=10.0)
    whole = sum((s.share or 0.0) * s.requests_per_session(0) for s in make_workload("mixed", Scales()).streams)
    paces = [stream.pacing for stream in traffic.workload.streams]
    assert [pace.rate for pace in paces if isinstance(pace, OpenLoop)] == pytest.approx(
        [share * 10.0 / whole for share in (0.5, 0.35, 0.15)]
    )


def test_a_rate_is_about_the_open_loops_beside_closed_ones() -> None:
    traffic = _made(workload="agent-tools,chat-short", turns=2, request_rate=6.0, concurrency=3)
    assert [stream.pacing for stream in traffic.workload.streams] == [ClosedLoop(3), OpenLoop(3.0)]
    probe = _made(workload="hol-probe", request_rate=6.0)
    assert [stream.pacing for stream in probe.workload.streams] == [ClosedLoop(16), OpenLoop(6.0, "constant")]


def test_several_open_loops_share_a_rate() -> None:
    """Each had it all, so that two of them sent twice what was asked for."""
    traffic = _made(workload="chat-bursty,chat-short", turns=2, request_rate=6.0)
    assert [stream.pacing for stream in traffic.workload.streams] == [OpenLoop(1.5, "bursty"), OpenLoop(1.5)]


@pytest.mark.parametrize("models", [None, "a:3,b:1"])
def test_several_models_share_it_too(models: str | None) -> None:
    mix = None if models is None else parse_models(models)
    traffic = TrafficRecipe(workload="chat-short", request_rate=12.0, models=mix).make()
    assert sum_of_rates(traffic) == sum_of_rates(_made(workload="chat-short", request_rate=12.0))


def test_a_trace_has_the_turns_that_it_has(tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    trace.write_bytes(b"".join(write_session(Session(f"{n}", "agent", (_ONE,) * n)) for n in (1, 2, 6)))
    traffic = _made(trace=str(trace), request_rate=6.0)
    assert (traffic.rates, traffic.workload.streams[0].pacing) == (Rates(2.0, 6.0), OpenLoop(2.0))
    assert _made(trace=str(trace), request_rate=6.0, turns=2).workload.streams[0].pacing == OpenLoop(6.0 / (5 / 3))


def test_other_processes_start_sessions_at_the_same_rate_and_count_nothing() -> None:
    made = _made(workload="chat-short", request_rate=5.0)
    assert made.recipe.session_rate == sum_of_rates(made)
    assert sum_of_rates(made.recipe.make()) == sum_of_rates(made)
    assert made.recipe.make().recipe == made.recipe


def test_closed_loops_and_replays_have_no_rate() -> None:
    assert _made(workload="mixed").rates is None
    with pytest.raises(ConfigurationError, match="its loops are closed"):
        _made(workload="agent-tools,agent-office", request_rate=1.0)


def test_a_run_keeps_both_and_its_traffic_is_known_by_what_was_asked_for() -> None:
    """Sessions are counted under each seed, and seeds differ where runs compare."""
    one, two = (_made(workload="chat-short", request_rate=5.0, seed=seed) for seed in (1, 2))
    assert one.saved["session_rate"] != two.saved["session_rate"]
    assert one.saved["request_rate"] == two.saved["request_rate"] == 5.0
    assert one.fingerprint | {"seed": 2} == two.fingerprint
    usual = _made(workload="chat-short", turns=2).saved
    assert (usual["request_rate"], usual["session_rate"]) == (4.0, 2.0)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"request_rate": 5.0, "session_rate": 5.0}, "give --request-rate or --session-rate, not both"),
        ({"session_rate": -1.0}, "--session-rate must be above 0, not -1"),
        ({"request_rate": 0.0}, "--request-rate must be above 0, not 0"),
        ({"request_rate": float("inf")}, "--request-rate must be above 0"),
        ({"session_rate": 1.0, "concurrency": 2}, "give --concurrency or a rate, not both"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, float], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        _made(workload="chat-short", **options)
