"""The presets draw what they say."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from random import Random
from statistics import median

import pytest
from abatch.engine.errors import ConfigurationError
from abatch.workloads.agents import TOOL_LATENCY_S
from abatch.workloads.arrivals import arrival_times
from abatch.workloads.catalog import WORKLOADS, describe, make_workload
from abatch.workloads.distributions import Constant, Geometric, LogNormal
from abatch.workloads.scales import Scales
from abatch.workloads.session import Pause, Session
from abatch.workloads.workload import ClosedLoop, OpenLoop

_UNSCALED = Scales(pause_cap_s=math.inf)


def sessions(name: str, count: int, scales: Scales = _UNSCALED, stream: int = 0) -> list[Session]:
    workload = make_workload(name, scales)
    return [*itertools.islice(workload.streams[stream].sessions(0), count)]


def of_median(values: Sequence[float], expected: float, *, within: float) -> None:
    assert median(values) == pytest.approx(expected, rel=within)


def test_every_workload_has_a_description_and_a_verdict_class_that_occurs() -> None:
    for name in WORKLOADS:
        workload = make_workload(name, Scales())
        assert len(describe(name)) > 20
        classes = {
            session.traffic_class for stream in workload.streams for session in itertools.islice(stream.sessions(0), 60)
        }
        assert workload.verdict_class in {"all", *classes}


def test_chat_short_follows_its_table() -> None:
    drawn = sessions("chat-short", 3000)
    turns = [turn for session in drawn for turn in session.turns]
    of_median([turn.new_tokens for turn in turns], 400, within=0.05)
    of_median([turn.output_tokens for turn in turns], 130, within=0.05)
    of_median([turn.pause_s for turn in turns if turn.pause is Pause.HUMAN], 45, within=0.06)
    assert len(turns) / len(drawn) == pytest.approx(2.35, rel=0.05)
    assert max(turn.new_tokens for turn in turns) <= 4000
    assert max(turn.output_tokens for turn in turns) <= 1000


def test_agent_tools_follows_its_table() -> None:
    drawn = sessions("agent-tools", 1500)
    later = [turn for session in drawn for turn in session.turns[1:]]
    tools = [turn for turn in later if turn.pause is Pause.TOOL]
    assert len(tools) / len(later) == pytest.approx(0.5, abs=0.02)
    of_median([turn.pause_s for turn in tools], 0.3, within=0.05)
    of_median([turn.output_tokens for turn in later], 55, within=0.05)
    of_median([turn.new_tokens for turn in later], 165, within=0.05)
    assert {session.prefix.tokens for session in drawn if session.prefix} == {1500}
    assert max(len(session.turns) for session in drawn) == 30


def test_mixed_follows_its_weights() -> None:
    workload = make_workload("mixed", _UNSCALED)
    assert {stream.name: stream.pacing for stream in workload.streams} == {
        "chat": ClosedLoop(28),
        "agent": ClosedLoop(20),
        "always-on": ClosedLoop(8),
    }
    chats = sessions("mixed", 2000, stream=0)
    of_median([session.turns[0].new_tokens for session in chats], 400, within=0.1)
    pauses = [turn.pause_s for session in chats for turn in session.turns if turn.pause is Pause.HUMAN]
    of_median(pauses, 2.25, within=0.1)
    agents = sessions("mixed", 1500, stream=1)
    assert {session.prefix.tokens for session in agents if session.prefix} == {1500}
    of_median([session.turns[0].new_tokens for session in agents], 900, within=0.1)
    of_median([len(session.turns) for session in agents], 45, within=0.25)
    always_on = sessions("mixed", 2000, stream=2)
    assert sum(len(session.turns) == 1 for session in always_on) / 2000 == pytest.approx(0.8, abs=0.03)
    of_median([session.turns[0].new_tokens for session in always_on], 1000, within=0.1)


def test_hol_probe_keeps_its_prefill_whatever_is_overridden() -> None:
    scales = Scales(output_tokens=Constant(9), input_tokens=Constant(5))
    (decoder,) = sessions("hol-probe", 1, scales, stream=0)
    (prefill,) = sessions("hol-probe", 1, scales, stream=1)
    assert (decoder.turns[0].new_tokens, decoder.turns[0].output_tokens) == (5, 9)
    assert (prefill.turns[0].new_tokens, prefill.turns[0].output_tokens) == (8000, 16)


def test_tool_latency_is_heavy_tailed() -> None:
    random = Random(0)
    drawn = sorted(TOOL_LATENCY_S.draw(random) for _ in range(40_000))
    # The mixture as published puts its median at 0.30 s and its 90th percentile at 13.6 s.
    assert drawn[20_000] == pytest.approx(0.30, rel=0.1)
    assert drawn[36_000] == pytest.approx(13.6, rel=0.15)
    assert drawn[39_600] == pytest.approx(341, rel=0.25)


def test_scales() -> None:
    base = sessions("agent-tools", 20)
    scaled = sessions("agent-tools", 20, Scales(context=0.1, time=0.5, pause_cap_s=0.2))
    for session, small in zip(base, scaled, strict=True):
        assert small.prefix is not None
        assert small.prefix.tokens == 150
        for turn, small_turn in zip(session.turns, small.turns, strict=True):
            assert small_turn.output_tokens == turn.output_tokens
            assert small_turn.pause_s == pytest.approx(min(turn.pause_s * 0.5, 0.2))
    for name in ("agent-tools", "mixed", "chat-short"):
        assert all(len(session.turns) == 3 for session in sessions(name, 40, Scales(turns=Constant(3))))


def test_a_pause_that_was_cut_short_says_so_and_one_that_was_asked_for_is_not_cut() -> None:
    capped = [turn for session in sessions("chat-short", 300, Scales()) for turn in session.turns]
    assert all(turn.pause_s == 10 for turn in capped if turn.pause_was_capped)
    assert sum(turn.pause_was_capped for turn in capped) > 100
    asked = sessions("agent-tools", 20, Scales(tool_pause_s=Constant(60), time=0.1))
    pauses = {turn.pause_s for session in asked for turn in session.turns if turn.pause is Pause.TOOL}
    assert pauses == {60}


def test_a_session_depends_on_seed_and_index_only() -> None:
    stream = make_workload("mixed", Scales()).streams[0]
    first, again, other = ([*itertools.islice(stream.sessions(seed), 18)][17] for seed in (4, 4, 5))
    assert first == again
    assert first != other


def test_pacing_overrides() -> None:
    mixed = make_workload("mixed", Scales())
    assert [stream.pacing for stream in mixed.with_pacing(concurrency=10).streams] == [*map(ClosedLoop, (5, 4, 1))]
    assert [stream.name for stream in mixed.with_pacing(concurrency=1).streams] == ["chat"]
    rates = [stream.pacing for stream in mixed.with_pacing(request_rate=20, arrival="constant").streams]
    assert rates == [OpenLoop(10, "constant"), OpenLoop(7, "constant"), OpenLoop(3, "constant")]
    tools = make_workload("agent-tools", Scales())
    assert tools.with_pacing(concurrency=3).streams[0].pacing == ClosedLoop(3)
    assert tools.with_pacing(request_rate=2).streams[0].pacing == OpenLoop(2, "poisson")
    probe = make_workload("hol-probe", Scales()).with_pacing(concurrency=4, request_rate=1)
    assert [stream.pacing for stream in probe.streams] == [ClosedLoop(4), OpenLoop(1, "poisson")]


@pytest.mark.parametrize(
    ("pacing", "mentions"),
    [
        ({"concurrency": 0}, "--concurrency"),
        ({"request_rate": 0.0}, "--request-rate"),
        ({"request_rate": math.nan}, "--request-rate"),
        ({"arrival": "constant"}, "--arrival"),
        ({"request_rate": 1.0, "arrival": "sometimes"}, "--arrival"),
        ({"concurrency": 1, "request_rate": 1.0}, "not both"),
    ],
)
def test_pacing_that_makes_no_sense(pacing: dict[str, float], mentions: str) -> None:
    with pytest.raises(ConfigurationError, match=mentions):
        make_workload("mixed", Scales()).with_pacing(**pacing)  # type: ignore[arg-type]


def test_an_unknown_workload_names_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match="hol-probe"):
        make_workload("nope", Scales())


@pytest.mark.parametrize("arrival", ["constant", "poisson"])
def test_arrivals_have_their_rate(arrival: str) -> None:
    times = list(itertools.islice(arrival_times(arrival, 20.0, Random(1)), 4000))
    assert times == sorted(times)
    assert 4000 / times[-1] == pytest.approx(20, rel=0.05)
    gaps = [after - before for before, after in itertools.pairwise(times)]
    variation = (sum((gap - 0.05) ** 2 for gap in gaps) / len(gaps)) ** 0.5 / 0.05
    assert variation == pytest.approx(1.0 if arrival == "poisson" else 0.0, abs=0.05)


def test_distributions() -> None:
    random = Random(3)
    drawn = sorted(LogNormal(100, 1.0, cap=500).draw(random) for _ in range(5000))
    assert drawn[2500] == pytest.approx(100, rel=0.06)
    assert drawn[-1] == 500
    geometric = [Geometric(2.35).draw(random) for _ in range(5000)]
    assert sum(geometric) / 5000 == pytest.approx(2.35, rel=0.05)
    assert min(geometric) == 1
    assert {Geometric(1).draw(random) for _ in range(9)} == {1}
