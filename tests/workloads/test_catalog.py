"""The named workloads, alone and side by side, and their pace."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from random import Random
from statistics import median

import pytest
from abatch.engine.errors import ConfigurationError
from abatch.workloads.presets.catalog import WORKLOADS, describe, make_workload
from abatch.workloads.presets.distributions import Constant, Geometric, LogNormal, Normal, Uniform
from abatch.workloads.presets.scales import Scales
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
    agents = sessions("mixed", 600, stream=1)
    assert {session.prefix.tokens for session in agents if session.prefix} == {1500}
    of_median([session.turns[0].new_tokens for session in agents], 900, within=0.1)
    of_median([len(session.turns) for session in agents], 45, within=0.25)
    always_on = sessions("mixed", 200, stream=2)
    assert {session.traffic_class for session in always_on} == {"always-on"}
    of_median([session.prefix.tokens for session in always_on if session.prefix], 1000, within=0.1)
    waits = [turn.pause_s for session in always_on for turn in session.turns if turn.pause is Pause.HEARTBEAT]
    of_median(waits, 90, within=0.05)


def test_hol_probe_keeps_its_prefill_whatever_is_overridden() -> None:
    scales = Scales(output_tokens=Constant(9), input_tokens=Constant(5))
    (decoder,) = sessions("hol-probe", 1, scales, stream=0)
    (prefill,) = sessions("hol-probe", 1, scales, stream=1)
    assert (decoder.turns[0].new_tokens, decoder.turns[0].output_tokens) == (5, 9)
    assert (prefill.turns[0].new_tokens, prefill.turns[0].output_tokens) == (8000, 16)


def test_every_stream_has_a_name_of_its_own() -> None:
    workloads = [make_workload(name, Scales()) for name in WORKLOADS if name != "mixed"]
    names = [stream.name for workload in workloads for stream in workload.streams]
    assert len({*names}) == len(names)
    mixed = [stream.name for stream in make_workload("mixed", Scales()).streams]
    assert len({*mixed}) == len(mixed)


def test_paces() -> None:
    """Those of the presets: bursts where the table wants them, agents in a closed loop."""
    paces = {name: make_workload(name, Scales()).streams[0].pacing for name in WORKLOADS}
    assert paces["chat-short"] == OpenLoop(2.0, "poisson")
    assert paces["chat-bursty"] == OpenLoop(2.0, "bursty")
    for name in ("agent-coding", "agent-office", "agent-tools", "always-on"):
        assert isinstance(paces[name], ClosedLoop)


def test_workloads_run_side_by_side() -> None:
    both = make_workload("agent-tools, chat-short", Scales())
    assert (both.name, both.verdict_class) == ("agent-tools+chat-short", "chat")
    alone = [make_workload(name, Scales()) for name in ("agent-tools", "chat-short")]
    assert both.description == "; ".join(workload.description for workload in alone)
    for stream, expected in zip(both.streams, alone, strict=True):
        (original,) = expected.streams
        assert (stream.name, stream.pacing) == (original.name, original.pacing)
        drawn, wanted = ([*itertools.islice(each.sessions(3), 5)] for each in (stream, original))
        assert drawn == wanted
    assert make_workload("agent-tools,agent-office", Scales()).verdict_class == "all"
    probe = make_workload("hol-probe,chat-bursty", Scales())
    assert [stream.name for stream in probe.streams] == ["decode", "prefill", "chat-bursty"]
    assert probe.verdict_class == "chat"


def test_each_pace_of_workloads_side_by_side_is_for_all_streams_of_its_kind() -> None:
    several = make_workload("agent-tools,agent-office,chat-short", Scales())
    assert [stream.pacing for stream in several.with_pacing(concurrency=3, session_rate=5.0).streams] == [
        ClosedLoop(3),
        ClosedLoop(3),
        OpenLoop(5.0),
    ]
    assert [stream.pacing for stream in several.with_pacing(arrival="bursty").streams][2] == OpenLoop(2.0, "bursty")
    with pytest.raises(ConfigurationError, match="a rate does not apply"):
        make_workload("agent-tools,agent-office", Scales()).with_pacing(session_rate=1.0)
    with pytest.raises(ConfigurationError, match="--concurrency does not apply"):
        make_workload("chat-bursty,chat-short", Scales()).with_pacing(concurrency=1)


@pytest.mark.parametrize(
    ("name", "mentions"),
    [
        ("chat-short,chat-short", "twice"),
        ("chat-short,mixed", "already a mix"),
        ("mixed,always-on", "already a mix"),
        ("chat-short,", "unknown workload ''"),
        ("chat-short,nope", "unknown workload 'nope'"),
        ("nope", "hol-probe"),
    ],
)
def test_workloads_that_there_are_not(name: str, mentions: str) -> None:
    with pytest.raises(ConfigurationError, match=mentions):
        make_workload(name, Scales())


def test_pacing_overrides() -> None:
    mixed = make_workload("mixed", Scales())
    assert [stream.pacing for stream in mixed.with_pacing(concurrency=10).streams] == [*map(ClosedLoop, (5, 4, 1))]
    assert [stream.name for stream in mixed.with_pacing(concurrency=1).streams] == ["chat"]
    rates = [stream.pacing for stream in mixed.with_pacing(session_rate=20, arrival="constant").streams]
    assert rates == [OpenLoop(10, "constant"), OpenLoop(7, "constant"), OpenLoop(3, "constant")]
    tools = make_workload("agent-tools", Scales())
    assert tools.with_pacing(concurrency=3).streams[0].pacing == ClosedLoop(3)
    assert tools.with_pacing(session_rate=2).streams[0].pacing == OpenLoop(2, "poisson")
    probe = make_workload("hol-probe", Scales()).with_pacing(concurrency=4, session_rate=1)
    assert [stream.pacing for stream in probe.streams] == [ClosedLoop(4), OpenLoop(1, "constant")]


@pytest.mark.parametrize(
    ("pacing", "mentions"),
    [
        ({"concurrency": 0}, "--concurrency"),
        ({"session_rate": 0.0}, "--session-rate"),
        ({"session_rate": math.nan}, "--session-rate"),
        ({"arrival": "constant"}, "--arrival"),
        ({"session_rate": 1.0, "arrival": "sometimes"}, "--arrival"),
        ({"concurrency": 1, "session_rate": 1.0}, "not both"),
    ],
)
def test_pacing_that_makes_no_sense(pacing: dict[str, float], mentions: str) -> None:
    with pytest.raises(ConfigurationError, match=mentions):
        make_workload("mixed", Scales()).with_pacing(**pacing)  # type: ignore[arg-type]


def test_distributions() -> None:
    random = Random(3)
    drawn = sorted(LogNormal(100, 1.0, cap=500).draw(random) for _ in range(5000))
    assert drawn[2500] == pytest.approx(100, rel=0.06)
    assert drawn[-1] == 500
    geometric = [Geometric(2.35).draw(random) for _ in range(5000)]
    assert sum(geometric) / 5000 == pytest.approx(2.35, rel=0.05)
    assert min(geometric) == 1
    assert {Geometric(1).draw(random) for _ in range(9)} == {1}
    normal = [Normal(10, 4, least=8, most=12).draw(random) for _ in range(500)]
    assert (min(normal), max(normal)) == (8, 12)
    assert {Uniform(1, 3).draw(random) for _ in range(100)} == {1, 2, 3}
