"""What becomes of parked sessions, by policy, under pressure, and as time passes."""

from __future__ import annotations

import pytest
from abatch.engine.session import ParkState
from support.scene import A, B, C, Scene

# Single policies.


def test_keep_pins_while_there_is_room_and_breaks_the_oldest_first() -> None:
    scene = Scene("keep")
    for name, context in (("a", A), ("b", B), ("c", C)):
        scene.park(name, context)
        scene.now_s += 1
    assert scene.parking.num_pinned_blocks == 15
    scene.press(8)
    assert [scene.state(name) for name in "abc"] == [ParkState.DROPPED, ParkState.RESIDENT, ParkState.RESIDENT]
    assert scene.totals.num_broken == 1
    assert scene.actions("a") == ["keep", "break"]
    assert scene.scheduler.num_preemptions == 0


def test_offload_copies_out_at_once_and_lets_go_when_that_is_done() -> None:
    scene = Scene("offload", host=20)
    scene.runner.copies_arrive = False
    scene.park("a", A)
    assert (scene.parking.num_pinned_blocks, scene.parking.is_making_room) == (5, True)
    scene.runner.copies_arrive = True
    scene.steps(1)
    assert (scene.parking.num_pinned_blocks, scene.blocks.num_held, scene.parking.num_host_blocks_held) == (0, 0, 5)
    assert (scene.state("a"), scene.totals.offloaded_bytes) == (ParkState.HOST, 50)
    assert scene.actions("a") == ["offload"]


def test_what_the_host_tier_has_already_is_not_copied_again() -> None:
    scene = Scene("offload", host=20)
    scene.park("a", A)
    scene.park("b", [*A[:3], 7])
    assert (scene.totals.offloaded_bytes, scene.parking.num_host_blocks_held) == (60, 6)
    scene.park("c", A)
    assert (scene.totals.offloaded_bytes, scene.state("c")) == (60, ParkState.HOST)


@pytest.mark.parametrize(("host", "states"), [(0, "dd"), (5, "dh"), (9, "dh"), (10, "hh")])
def test_offload_without_room_drops_who_has_been_there_longest(host: int, states: str) -> None:
    scene = Scene("offload", host=host)
    scene.park("a", A)
    scene.park("b", B)
    names = {"d": ParkState.DROPPED, "h": ParkState.HOST}
    assert [scene.state("a"), scene.state("b")] == [names[state] for state in states]


def test_nobody_is_dropped_for_one_that_the_host_tier_could_not_hold_anyway() -> None:
    scene = Scene("offload", host=6)
    scene.park("a", A)
    scene.park("b", range(200, 207))
    assert [scene.state("a"), scene.state("b")] == [ParkState.HOST, ParkState.DROPPED]


def test_drop_holds_nothing_and_what_is_found_is_luck() -> None:
    scene = Scene("drop", host=20)
    scene.park("a", A)
    assert (scene.blocks.num_held, scene.parking.num_host_blocks_held) == (0, 0)
    scene.park("a", [*A, 7])
    assert (scene.totals.num_kept, scene.totals.num_recomputed) == (1, 0)
    scene.press(20)
    scene.park("a", [*A, 7, 8])
    assert (scene.totals.num_kept, scene.totals.num_recomputed, scene.totals.recomputed_tokens) == (1, 1, 5), (
        "one was lucky"
    )
    assert scene.actions("a") == ["drop", "kept", "drop", "recomputed", "drop"]


# What auto decides.


def test_auto_keeps_while_there_is_room() -> None:
    scene = Scene(host=20)
    scene.park("a", A, hint_s=50)
    scene.park("b", B, hint_s=50)
    scene.now_s += 10
    scene.press(5)
    assert [scene.state("a"), scene.state("b")] == [ParkState.RESIDENT] * 2
    scene.park("a", [*A, 7])
    assert scene.actions("a") == ["keep", "kept", "keep"]


def test_under_pressure_auto_offloads_the_one_expected_last() -> None:
    scene = Scene(host=20)
    for name, context, hint_s in (("a", A, 20.0), ("b", B, 90.0), ("c", C, 30.0)):
        scene.park(name, context, hint_s=hint_s)
    scene.press(8)
    assert [scene.state(name) for name in "abc"] == [ParkState.RESIDENT, ParkState.HOST, ParkState.RESIDENT]
    (event,) = [event for event in scene.events if event.action == "offload"]
    assert (event.session_id, event.num_blocks, event.remaining_s, event.keep_cost) == ("b", 5, 90.0, 450.0)
    assert event.offload_cost is not None
    assert event.drop_cost is not None
    assert event.offload_cost < event.drop_cost


@pytest.mark.parametrize(("host", "prefill_token_s"), [(0, 1e-3), (4, 1e-3), (20, 1e-9)])
def test_auto_drops_where_the_host_tier_cannot_hold_it_or_computing_again_is_cheap(
    host: int, prefill_token_s: float
) -> None:
    scene = Scene(host=host)
    scene.parking._outlook.costs.prefill_token_s = prefill_token_s
    scene.park("a", A, hint_s=90.0)
    scene.press(18)
    assert scene.state("a") is ParkState.DROPPED
    assert "offload" not in scene.actions("a")


@pytest.mark.parametrize(
    ("hint_s", "states"), [(10.0, (ParkState.DROPPED, ParkState.HOST)), (95.0, (ParkState.HOST, ParkState.DROPPED))]
)
def test_a_full_host_tier_is_for_those_expected_first(hint_s: float, states: tuple[ParkState, ParkState]) -> None:
    scene = Scene(host=5)
    scene.park("a", A, hint_s=50.0)
    scene.press(18)
    assert scene.state("a") is ParkState.HOST
    scene.park("b", B, hint_s=hint_s)
    scene.press(18)
    assert (scene.state("a"), scene.state("b")) == states
    assert scene.parking.num_host_blocks_held == 5


def test_nobody_else_leaves_while_copies_are_under_way_that_free_some() -> None:
    scene = Scene(host=20)
    scene.runner.copies_arrive = False
    for name, context in (("a", A), ("b", B)):
        scene.park(name, context, hint_s=1e-9)  # so soon that no copy is made ahead
    scene.submit(None, range(500, 514))
    scene.steps(3)
    assert scene.actions("a") + scene.actions("b") == ["keep", "offload", "keep"]
    scene.runner.copies_arrive = True
    scene.run()
    assert (scene.state("a"), scene.state("b")) == (ParkState.HOST, ParkState.RESIDENT)


def test_one_in_the_way_is_dropped_where_computing_it_again_is_cheaper_than_a_copy() -> None:
    scene = Scene(host=20)
    scene.parking._outlook.costs.prefill_token_s = 1e-9
    scene.park("a", A, hint_s=1e-9)
    scene.submit(None, range(500, 518))
    scene.run()
    assert (scene.actions("a"), scene.totals.offloaded_bytes) == (["keep", "break"], 0)


@pytest.mark.parametrize(("host", "state"), [(20, ParkState.HOST), (0, ParkState.DROPPED)])
def test_a_pin_expires_softly(host: int, state: ParkState) -> None:
    scene = Scene(host=host)
    scene.park("a", A, hint_s=30.0)
    due_s = scene.engine.scheduler.next_step_at_s()
    assert due_s == pytest.approx(1030.0)
    scene.now_s = 1029.9
    scene.steps(2)
    assert scene.state("a") is ParkState.RESIDENT
    scene.now_s = 1030.0
    scene.steps(2)
    assert scene.state("a") is state
    assert (scene.totals.num_broken, scene.totals.num_prefetched) == (0, 0)


def test_a_pin_that_expires_while_it_is_being_copied_goes_when_the_copy_is_made() -> None:
    scene = Scene(host=20)
    scene.runner.copies_arrive = False
    scene.park("a", A, hint_s=3.0)
    scene.now_s += 5.0
    scene.steps(2)
    scene.runner.copies_arrive = True
    scene.steps(1)
    scene.now_s += 1.0
    scene.steps(1)
    assert (scene.state("a"), scene.parking.num_pinned_blocks) == (ParkState.HOST, 0)


def test_one_that_had_to_leave_is_not_fetched_back_when_its_pin_would_have_expired() -> None:
    scene = Scene(host=20)
    for _ in range(10):
        scene.parking._outlook.pauses.observe("build", 60.0)
    scene.park("a", A, tool="build")
    scene.now_s += 1.0
    scene.press(18)
    assert scene.state("a") is ParkState.HOST
    scene.now_s = 1060.0
    scene.steps(2)
    assert (scene.state("a"), scene.totals.num_prefetched) == (ParkState.HOST, 0)


def test_a_session_is_fetched_back_before_it_is_expected() -> None:
    scene = Scene(host=20)
    scene.park("a", A, hint_s=30.0)
    scene.press(18)
    assert scene.state("a") is ParkState.HOST
    due_s = scene.scheduler.next_step_at_s()
    assert due_s is not None
    assert due_s == pytest.approx(1030.0 - 0.02, abs=1e-3)
    scene.now_s = due_s
    num_lost = 5 - len(scene.blocks.match(scene.parking.find("a").hashes))  # type: ignore[union-attr]
    scene.runner.copies_arrive = False
    scene.steps(2)
    assert (scene.state("a"), scene.parking.num_host_blocks_held) == (ParkState.RESIDENT, num_lost)
    scene.runner.copies_arrive = True
    scene.steps(1)
    assert (scene.parking.num_pinned_blocks, scene.parking.num_host_blocks_held) == (5, 0)
    assert (scene.totals.num_prefetched, scene.totals.restored_bytes) == (1, 10 * num_lost)
    scene.park("a", [*A, 7])
    assert (scene.totals.num_kept, scene.totals.num_restored) == (1, 0)


@pytest.mark.parametrize(("num_others", "state"), [(11, ParkState.RESIDENT), (14, ParkState.HOST)])
def test_it_is_not_fetched_back_where_that_would_press_others(num_others: int, state: ParkState) -> None:
    scene = Scene(host=20)
    scene.park("a", A, hint_s=30.0)
    scene.press(18)
    scene.submit(None, range(500, 500 + num_others - 1), 3)
    scene.steps(1)
    scene.now_s = 1030.0
    scene.steps(1)
    assert scene.state("a") is state
