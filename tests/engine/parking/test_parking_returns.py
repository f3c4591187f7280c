"""Sessions that come back, or do not: what they find, what is counted, and what is left of them."""

from __future__ import annotations

import pytest
from abatch.engine.parking.config import ParkPolicy
from abatch.engine.session import ParkState
from support.scene import A, B, Scene, every_policy


@pytest.mark.parametrize("policy", ["keep", "auto"])
def test_one_that_is_back_and_waits_is_broken_only_after_all_that_are_not(policy: ParkPolicy) -> None:
    scene = Scene(policy, seqs=1)
    scene.park("a", A)
    scene.now_s += 1
    scene.park("b", B, hint_s=0.1)
    runs = scene.submit(None, range(500, 508), 12)
    scene.steps(1)
    scene.submit("a", [*A, 7])
    for _ in range(4):
        assert scene.state("a") is ParkState.RESIDENT
        scene.steps(1)
    assert (scene.state("a"), scene.state("b")) == (ParkState.RESIDENT, ParkState.DROPPED)
    for _ in range(20):
        if runs.finish_reason is None:
            scene.steps(1)
    assert scene.scheduler.num_preemptions == 0, "pins are broken rather than a running request thrown out"
    assert runs.num_output == 12
    scene.run()


@every_policy
def test_its_own_pins_are_not_broken_for_it(policy: ParkPolicy) -> None:
    scene = Scene(policy, host=40)
    scene.park("b", B)
    scene.park("a", range(100, 112))
    again = scene.submit("a", [*range(100, 112), *range(5)], 3)
    scene.run()
    assert again.num_cached_tokens >= 12
    assert scene.totals.recomputed_tokens == 0


@pytest.mark.parametrize("policy", ["keep", "auto"])
def test_nor_while_it_waits_for_others_to_end(policy: ParkPolicy) -> None:
    scene = Scene(policy)
    scene.park("a", A)
    runs = scene.submit(None, range(500, 508), 6)
    scene.steps(1)
    again = scene.submit("a", [*A, *range(700, 708)])
    scene.steps(3)
    assert (runs.finish_reason, again.num_computed) == (None, 0), "there is no room for both"
    assert (scene.state("a"), scene.parking.num_pinned_blocks) == (ParkState.RESIDENT, 5)
    scene.run()
    assert again.num_cached_tokens == 5


@every_policy
@pytest.mark.parametrize("host", [0, 40])
@pytest.mark.parametrize("num_common", [0, 1, 9])
def test_one_with_another_history_is_not_kept_waiting_by_its_old_one(
    policy: ParkPolicy, host: int, num_common: int
) -> None:
    scene = Scene(policy, host=host)
    history = range(100, 118)
    scene.park("a", history, hint_s=500.0)
    edited = scene.submit("a", [*history[:num_common], *range(300, 310)])
    scene.run()
    assert edited.num_cached_tokens == num_common


def test_a_restore_that_would_take_longer_than_computing_is_not_made() -> None:
    scene = Scene("offload", host=20)
    scene.park("a", A)
    scene.press(19)
    scene.press(19)
    scene.parking._outlook.costs.prefill_token_s = 1e-12
    scene.park("a", [*A, 7])
    assert (scene.totals.num_restored, scene.totals.restored_bytes, scene.totals.recomputed_tokens) == (0, 0, 5)


def test_totals_of_a_short_story_by_hand() -> None:
    scene = Scene("offload", host=20)
    scene.runner.copies_arrive = False
    scene.park("a", A)
    scene.now_s += 2.0
    scene.runner.copies_arrive = True
    scene.steps(1)
    assert scene.totals.parked_block_s == pytest.approx(10.0), "five blocks, until their copy was made"
    scene.press(19)
    scene.press(19)
    scene.runner.copies_arrive = False
    scene.submit("a", [*A, 7, 8])
    scene.steps(1)
    assert len(scene.scheduler.restoring) == 1
    scene.now_s += 0.5
    scene.steps(2)
    assert scene.totals.restore_wait_s == 0.0
    scene.now_s += 0.25
    scene.runner.copies_arrive = True
    scene.run()
    totals = scene.totals
    assert totals.restore_wait_s == pytest.approx(0.75)
    assert (totals.num_parked, totals.num_kept, totals.num_restored, totals.num_recomputed) == (2, 0, 1, 0)
    assert (totals.offloaded_bytes, totals.restored_bytes) == (70, 50), "the second time only what is new goes out"
    assert scene.records[-1].num_prefill_tokens == 2
    assert scene.actions("a") == ["offload", "restored", "offload"]


def test_the_step_log_has_each_decision_once() -> None:
    scene = Scene("keep")
    scene.park("a", A, tool="grep")
    scene.press(3)
    logged = [(record.step, event.action, event.tool) for record in scene.records for event in record.parking]
    assert logged == [(0, "keep", "grep")]
    assert [record.num_blocks_pinned for record in scene.records] == [0, 5]


def test_what_another_had_computed_too_and_has_lost_is_still_parked() -> None:
    scene = Scene("keep")
    scene.submit(None, A)
    turn = scene.submit("a", A, 6)
    scene.steps(1)
    assert not set(turn.block_ids) & set(scene.blocks.match(turn.block_hashes))
    scene.submit(None, range(700, 713))  # takes the place of what the first has left behind
    for _ in range(10):
        if turn.finish_reason is None:
            scene.steps(1)
    assert turn.num_output == 6
    assert scene.parking.num_pinned_blocks == 10


# Turns that come to nothing.


def busy_scene(policy: ParkPolicy = "auto", **options: float) -> Scene:
    """One whose only place is taken for a while."""
    scene = Scene(policy, host=20, seqs=1, timeout_s=options.get("timeout_s", 1e6))
    scene.park("a", A, hint_s=60.0)
    scene.submit(None, range(500, 505), 8)
    scene.steps(1)
    return scene


def test_a_turn_given_up_while_it_waited_leaves_the_session_as_it_was() -> None:
    scene = busy_scene()
    turn = scene.submit("a", [*A, 7])
    scene.engine.cancel(turn.request_id)
    scene.run()
    assert (scene.state("a"), scene.totals.num_parked) == (ParkState.RESIDENT, 1)
    session = scene.parking.find("a")
    assert session is not None
    assert len(session.hashes) == 5, "what it had, without what was given up"
    assert scene.scheduler.next_step_at_s() is not None, "its pin does not live for ever"


def test_a_first_turn_given_up_while_it_waited_leaves_nothing() -> None:
    scene = busy_scene(timeout_s=500.0)
    turn = scene.submit("new", [7])
    scene.engine.cancel(turn.request_id)
    scene.run()
    assert scene.parking.find("new") is None
    assert scene.totals.num_expired == 0
    scene.park("new", [7])
    assert scene.parking._outlook.pauses.quantile_s(None, 0.0, 1.0 - 1e-9) < 1e9
    assert list(scene.parking._outlook.pauses._all._latest) == [], "it has never paused"


@pytest.mark.parametrize("policy", ["auto", "offload"])
def test_a_copy_that_arrives_while_a_turn_waits_that_is_given_up_is_not_lost(policy: ParkPolicy) -> None:
    scene = Scene(policy, host=20, seqs=1)
    scene.runner.copies_arrive = False
    scene.park("a", A, hint_s=60.0)
    scene.submit(None, range(500, 505), 8)
    scene.steps(1)
    turn = scene.submit("a", [*A, 7])
    scene.runner.copies_arrive = True
    scene.steps(1)
    scene.engine.cancel(turn.request_id)
    assert scene.state("a") is (ParkState.HOST if policy == "offload" else ParkState.RESIDENT)
    scene.run()
    scene.press(19)
    assert scene.state("a") is ParkState.HOST
    assert scene.totals.offloaded_bytes == 50
    assert scene.engine.end_session("a")
    assert (scene.blocks.num_held, scene.parking.num_host_blocks_held) == (0, 0)


@pytest.mark.parametrize("policy", ["auto", "offload"])
def test_a_copy_overtaken_by_a_whole_turn_does_not_hold_the_session_for_ever(policy: ParkPolicy) -> None:
    scene = Scene(policy, blocks=7, host=5)  # so few that none are to spare: auto copies ahead of need
    scene.runner.copies_arrive = False
    scene.park("a", A, hint_s=60.0)
    assert scene.parking.is_making_room
    scene.park("a", [*A, 7], hint_s=60.0)
    scene.runner.copies_arrive = True
    scene.steps(2)
    scene.press(6)
    assert scene.parking.num_pinned_blocks == 0
    assert not scene.parking.is_making_room


@pytest.mark.parametrize(("blocks", "is_copied"), [(20, False), (7, True)])
def test_nobody_is_copied_ahead_of_need_while_memory_is_ample(blocks: int, is_copied: bool) -> None:
    scene = Scene("auto", blocks=blocks, host=10)
    scene.park("a", A, hint_s=0.5)
    assert (scene.totals.offloaded_bytes > 0) is is_copied
    assert scene.parking.num_pinned_blocks == 5, "it stays where it is"


@pytest.mark.parametrize("policy", ["keep", "offload"])
def test_a_return_counts_once_though_it_is_preempted(policy: ParkPolicy) -> None:
    scene = Scene(policy, host=20)
    scene.park("a", A)
    turn = scene.submit("a", [*A, 7], 4)
    scene.steps(3)
    scene.scheduler._preempt(turn)
    scene.run()
    assert turn.num_output == 4
    totals = scene.totals
    assert totals.num_kept + totals.num_restored + totals.num_recomputed == 1
    assert turn.num_cached_tokens == 5, "of its prompt, when it joined first"


# Ends.


def test_who_arrives_while_a_copy_is_under_way_does_not_wait_for_it() -> None:
    scene = Scene("offload", host=20)
    scene.runner.copies_arrive = False
    scene.park("a", A)
    assert scene.parking.is_making_room
    scene.steps(1)
    scene.submit(None, B, 2)
    assert scene.engine.idle_s() == 0.0


def test_one_prefix_copied_out_twice_at_once_is_found_by_both() -> None:
    scene = Scene("offload", host=20)
    scene.runner.copies_arrive = False
    scene.park("a", [*A, 7, 7])
    scene.park("b", [*A, 8, 8])
    scene.runner.copies_arrive = True
    scene.steps(3)
    assert scene.parking.num_host_blocks_held == 5 + 2 * 2, "the prefix is held once"
    scene.engine.end_session("a")
    scene.press(19)
    session = scene.parking.find("b")
    assert session is not None
    assert len(scene.parking._placement._host.match(session.hashes)) == len(session.hashes)
