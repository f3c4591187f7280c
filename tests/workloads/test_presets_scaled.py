"""What scales, overrides and options make of each preset."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from abatch.engine.errors import ConfigurationError
from abatch.workloads.presets.catalog import WORKLOADS, make_workload
from abatch.workloads.presets.distributions import Constant
from abatch.workloads.presets.scales import Scales
from abatch.workloads.session import Pause, Session, Turn

_UNSCALED = Scales(pause_cap_s=math.inf)
_STREAMS = [(name, stream.name) for name in WORKLOADS for stream in make_workload(name, Scales()).streams]
_LIVELY = [(name, stream) for name, stream in _STREAMS if name != "hol-probe"]
"""Streams whose sessions have several turns, and lengths that can be overridden."""


def sessions(name: str, stream: str, scales: Scales, count: int = 25, seed: int = 0) -> list[Session]:
    (found,) = (each for each in make_workload(name, scales).streams if each.name == stream)
    return [*itertools.islice(found.sessions(seed), count)]


def turns(name: str, stream: str, scales: Scales, count: int = 25) -> list[Turn]:
    return [turn for session in sessions(name, stream, scales, count) for turn in session.turns]


@pytest.mark.parametrize(("name", "stream"), _STREAMS)
def test_a_session_depends_on_seed_and_number_only(name: str, stream: str) -> None:
    scales = Scales(sub_agents=0.1)
    first, again, other = (sessions(name, stream, scales, 12, seed)[11] for seed in (4, 4, 5))
    assert first == again
    if name != "hol-probe":  # whose sessions are all alike
        assert first != other


@pytest.mark.parametrize(("name", "stream"), _STREAMS)
def test_context_scale_is_a_factor_on_prompts(name: str, stream: str) -> None:
    pairs = zip(sessions(name, stream, _UNSCALED), sessions(name, stream, replace(_UNSCALED, context=0.5)), strict=True)
    for base, small in pairs:
        if base.prefix is not None and small.prefix is not None:
            assert small.prefix.tokens == pytest.approx(base.prefix.tokens / 2, abs=1)
        assert (base.prefix is None) == (small.prefix is None)
        for turn, smaller in zip(base.turns, small.turns, strict=True):
            assert smaller.new_tokens == pytest.approx(turn.new_tokens / 2, abs=1)
            assert replace(smaller, new_tokens=0) == replace(turn, new_tokens=0)


@pytest.mark.parametrize(("name", "stream"), _STREAMS)
def test_time_scale_is_a_factor_on_pauses(name: str, stream: str) -> None:
    base, quick = (turns(name, stream, replace(_UNSCALED, time=time)) for time in (1.0, 0.25))
    for turn, quicker in zip(base, quick, strict=True):
        assert quicker.pause_s == pytest.approx(turn.pause_s * 0.25)
        assert replace(quicker, pause_s=0) == replace(turn, pause_s=0)


@pytest.mark.parametrize(("name", "stream"), _LIVELY)
def test_pauses_are_capped_and_say_so(name: str, stream: str) -> None:
    base, capped = (turns(name, stream, Scales(time=2.0, pause_cap_s=cap_s)) for cap_s in (math.inf, 1.5))
    num_capped = 0
    for turn, short in zip(base, capped, strict=True):
        if turn.pause is Pause.HEARTBEAT:
            assert (short.pause_s <= 1.5, short.pause_was_capped) == (True, True)
        else:
            assert (short.pause_s, short.pause_was_capped) == (min(turn.pause_s, 1.5), turn.pause_s > 1.5)
        num_capped += short.pause_was_capped
    assert num_capped > 0
    assert not any(turn.pause_was_capped for turn in base)


@pytest.mark.parametrize(("name", "stream"), _LIVELY)
def test_overrides_replace_what_is_drawn(name: str, stream: str) -> None:
    scales = Scales(
        context=0.5,
        time=0.1,
        input_tokens=Constant(7),
        output_tokens=Constant(9),
        turns=Constant(6),
        tool_pause_s=Constant(60),
    )
    for session in sessions(name, stream, scales):
        assert len(session.turns) == 6
        assert {(turn.new_tokens, turn.output_tokens) for turn in session.turns} == {(7, 9)}
        tools = {
            (turn.pause_s, turn.pause_was_capped)
            for turn in session.turns
            if turn.tool is not None and not turn.children
        }
        assert tools <= {(60, False)}
    assert any(turn.tool is not None for turn in turns(name, stream, scales)) == ("chat" not in stream)


def test_agents_wake_by_the_period_and_never_wait_longer_than_the_cap() -> None:
    """A cap shortens the period, not each wait by itself: waits that are all the same would wake agents together."""
    for scales, period_s, is_capped in (
        (Scales(time=0.01, pause_cap_s=100.0), 18.0, False),
        (Scales(), 10 / 1.5, True),
    ):
        woken = [turn for turn in turns("always-on", "always-on", scales, 40) if turn.pause is Pause.HEARTBEAT]
        assert len(woken) == 40 * 24
        assert all(turn.compacts and turn.tick_s is None for turn in woken)
        waits = [turn.pause_s for turn in woken]
        assert max(waits) == pytest.approx(1.5 * period_s, rel=0.02)
        assert max(waits) <= scales.pause_cap_s
        assert sum(waits) / len(waits) == pytest.approx(period_s * 23.5 / 24, rel=0.05)
        assert {turn.pause_was_capped for turn in woken} == {is_capped}


def test_agents_start_out_of_step() -> None:
    phases = sorted(s.turns[0].pause_s for s in sessions("always-on", "always-on", Scales(pause_cap_s=15.0), 200))
    assert phases[0] < 0.3
    assert phases[-1] == pytest.approx(10, abs=0.3)
    assert phases[100] == pytest.approx(5, abs=1)


@pytest.mark.parametrize("name", ["always-on", "mixed"])
def test_synchronised_agents_wake_at_the_ticks_of_their_period(name: str) -> None:
    scales = Scales(synchronised=True, pause_cap_s=30.0)
    woken = [turn for turn in turns(name, "always-on", scales) if turn.pause is Pause.HEARTBEAT]
    assert {(turn.tick_s, turn.pause_s, turn.pause_was_capped) for turn in woken} == {(20.0, 0.0, True)}
    others = [turn for turn in turns(name, "always-on", scales) if turn.pause is not Pause.HEARTBEAT]
    assert {turn.tick_s for turn in others} == {None}


def test_without_pauses_there_are_no_ticks() -> None:
    woken = turns("always-on", "always-on", Scales(synchronised=True, pause_cap_s=0.0))
    assert {(turn.tick_s, turn.pause_s) for turn in woken} == {(None, 0.0)}


def test_a_wake_repeats_the_agents_own_standing_context() -> None:
    drawn = sessions("always-on", "always-on", _UNSCALED, 50)
    assert len({session.prefix for session in drawn}) == 50
    for session in drawn:
        for turn in session.turns:
            assert turn.compacts == (turn.pause is Pause.HEARTBEAT)
            assert not turn.compacts or turn.new_tokens == 30


@pytest.mark.parametrize(("name", "stream"), [("agent-coding", "agent-coding"), ("mixed", "agent")])
def test_sub_agents_take_their_share_of_the_steps(name: str, stream: str) -> None:
    drawn = sessions(name, stream, Scales(sub_agents=0.2), 150)
    steps = [turn for session in drawn for turn in session.turns if turn.pause is Pause.TOOL]
    parents = [turn for turn in steps if turn.children]
    assert len(parents) / len(steps) == pytest.approx(0.2, abs=4.5 * math.sqrt(0.16 / len(steps)))
    for turn in parents:
        assert (turn.tool, turn.num_tools, turn.pause_s) == ("sub-agent", len(turn.children), 0.0)
    assert {len(turn.children) for turn in parents} == {1, 2, 3}
    for session in drawn:
        ids = [child.session_id for turn in session.turns for child in turn.children]
        assert ids == [f"{session.session_id}/{number}" for number in range(len(ids))]


def test_sub_agents_have_about_11_calls_and_a_context_of_their_own() -> None:
    drawn = sessions("agent-coding", "agent-coding", Scales(sub_agents=0.2, pause_cap_s=math.inf), 300)
    children = [child for session in drawn for turn in session.turns for child in turn.children]
    lengths = [len(child.turns) for child in children]
    assert sum(lengths) / len(lengths) == pytest.approx(11, abs=4.5 * 9 / math.sqrt(len(lengths)))
    assert max(lengths) == 30
    assert {child.traffic_class for child in children} == {"sub-agent"}
    assert {child.prefix for child in children} == {None}
    starts = sorted(child.turns[0].new_tokens for child in children)
    assert starts[len(starts) // 2] == pytest.approx(9000, rel=0.05)
    for child in children:
        assert child.turns[0].pause is Pause.NONE
        assert {turn.pause for turn in child.turns[1:]} <= {Pause.TOOL}


def test_without_sub_agents_there_are_none() -> None:
    assert not any(turn.children for turn in turns("agent-coding", "agent-coding", Scales()))


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_a_share_of_sub_agents_is_a_share(share: float) -> None:
    with pytest.raises(ConfigurationError, match="--sub-agents"):
        Scales(sub_agents=share)
