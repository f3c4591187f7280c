"""Which sessions are remembered, for how long, and what they are told."""

from __future__ import annotations

import pytest
from abatch.engine.errors import SessionBusyError
from abatch.engine.parking import lot as parking_module
from abatch.engine.parking.config import ParkPolicy
from abatch.engine.session import ParkState
from support.scene import A, B, C, Scene, every_policy


def test_a_session_that_does_not_come_back_is_forgotten() -> None:
    scene = Scene("keep", timeout_s=30.0)
    scene.park("a", A, tool="grep")
    scene.now_s += 10
    scene.park("b", B)
    assert scene.scheduler.next_step_at_s() == 1030.0
    scene.now_s = 1030.0
    scene.steps(1)
    assert (scene.state("a"), scene.state("b")) == (None, ParkState.RESIDENT)
    assert (scene.totals.num_expired, scene.parking.num_pinned_blocks) == (1, 5)
    assert scene.actions("a") == ["keep", "expire"]
    assert list(scene.parking._outlook.pauses._by_tool["grep"]._latest) == [30.0], "so long at least it paused"
    assert scene.scheduler.next_step_at_s() == 1040.0


def test_of_too_many_sessions_the_one_parked_longest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parking_module, "_MAX_SESSIONS", 2)
    scene = Scene("keep")
    for name, context in (("a", A), ("b", B), ("c", C)):
        scene.park(name, context)
    assert [scene.state(name) for name in "abc"] == [None, ParkState.RESIDENT, ParkState.RESIDENT]
    assert scene.blocks.num_held == 10


@every_policy
def test_a_last_turn_parks_nothing(policy: ParkPolicy) -> None:
    scene = Scene(policy, host=20)
    scene.park("a", A)
    scene.submit("a", [*A, 7], ends=True)
    scene.run()
    assert (scene.parking.find("a"), scene.totals.num_parked) == (None, 1)
    assert (scene.blocks.num_held, scene.parking.num_host_blocks_held, scene.parking.num_parked) == (0, 0, 0)


@every_policy
def test_a_session_ended_in_mid_turn_lets_the_turn_go_on(policy: ParkPolicy) -> None:
    scene = Scene(policy, host=20)
    turn = scene.submit("a", A, 4)
    scene.steps(2)
    assert scene.engine.end_session("a")
    assert not scene.engine.end_session("a")
    another = scene.submit("a", B, 2)
    scene.run()
    assert (turn.num_output, another.num_output) == (4, 2)
    assert (scene.totals.num_parked, scene.totals.num_kept) == (1, 0)
    session = scene.parking.find("a")
    assert session is not None
    assert session.hashes == another.block_hashes[: len(session.hashes)] != []


def test_a_session_has_one_turn_at_a_time() -> None:
    scene = Scene("keep")
    scene.submit("a", A, 3)
    with pytest.raises(SessionBusyError):
        scene.submit("a", [*A, 7])
    scene.run()
    assert scene.submit("a", [*A, 7]).finish_reason is None


def test_what_is_said_while_a_turn_runs_counts_when_it_has_ended() -> None:
    scene = Scene("keep")
    scene.submit("a", A, 3)
    scene.steps(1)
    scene.engine.tell("a", tool="grep", expected_pause_s=7.0)
    scene.run()
    session = scene.parking.find("a")
    assert session is not None
    assert (session.tool, session.hint_s) == ("grep", 7.0)
    scene.engine.tell("a", expected_pause_s=2.0)
    assert (session.tool, session.hint_s) == ("grep", 2.0), "what is not said stays"
    scene.engine.tell("nobody", tool="grep")


def test_a_pause_that_a_withdrawn_request_interrupts_begins_anew() -> None:
    scene = Scene("keep", timeout_s=30.0, seqs=1)
    scene.park("a", A)
    scene.now_s += 20.0
    scene.submit(None, B, 4)
    scene.steps(1)
    waiting = scene.submit("a", [*A, 7], 1)
    scene.engine.cancel(waiting.request_id)
    scene.run()
    scene.now_s += 20.0
    scene.steps(1)
    assert scene.parking.find("a") is not None, "it had a request 20 s ago"
    scene.now_s += 11.0
    scene.steps(1)
    assert scene.parking.find("a") is None


def test_a_session_expires_at_the_very_time_it_was_said_to() -> None:
    """Sums of times are rounded: what is due by one sum must be due by the other, or virtual time stands still."""
    scene = Scene("keep", timeout_s=3600.0)
    for number in range(200):
        scene.now_s += 0.7310585 * number
        scene.park(str(number), A)
    for _ in range(400):
        at_s = scene.parking.next_event_s()
        if at_s is None:
            break
        scene.now_s = max(scene.now_s, at_s)
        scene.steps(1)
    assert scene.parking.num_parked == 0


def test_at_the_limit_of_sessions_the_one_parked_longest_makes_way_for_a_new_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("abatch.engine.parking.lot._MAX_SESSIONS", 2)
    scene = Scene("keep")
    scene.park("a", A)
    scene.park("b", B)
    scene.park("b", [*B, 7])
    assert scene.parking.find("a") is not None, "who is known takes nobody's place"
    scene.park("c", C)
    assert {session.session_id for session in scene.parking._sessions} == {"b", "c"}


def test_a_session_that_was_ended_is_not_back() -> None:
    scene = Scene("keep", seqs=1)
    scene.park("a", A)
    scene.submit(None, B, 3)
    scene.steps(1)
    scene.submit("a", [*A, 7], 1)
    scene.engine.end_session("a")
    scene.run()
    assert scene.totals.num_kept + scene.totals.num_recomputed == 0
