"""What parking is priced at, and what follows from the prices."""

from __future__ import annotations

import math

import pytest
from abatch.engine.kv.block_manager import BlockManager
from abatch.engine.parking.account import ParkAccount
from abatch.engine.parking.costs import ParkCost, ParkCosts
from abatch.engine.parking.outlook import ParkOutlook
from abatch.engine.parking.pins import Pins
from abatch.engine.request import Request, SamplingParams
from abatch.engine.session import EngineSession, ParkState
from hypothesis import given
from hypothesis import strategies as st


def priced(prefill_token_s: float = 0.01, copy_block_s: float = 0.002) -> ParkCosts:
    """Costs that have been measured."""
    costs = ParkCosts()
    costs.learn_prefill(100, 100 * prefill_token_s)
    costs.learn_copy(10, 10 * copy_block_s)
    return costs


def outlook(num_host_blocks: int = 100, *, block_size: int = 4) -> ParkOutlook:
    """With the costs of `priced`."""
    result = ParkOutlook(block_size, num_host_blocks)
    result.costs = priced()
    return result


def parked(name: str, num_blocks: int, *, parked_s: float = 0.0, hint_s: float | None = None) -> EngineSession:
    """A session with so many blocks pinned."""
    hashes = [f"{name}{number}".encode() for number in range(num_blocks)]
    blocks = list(range(num_blocks))
    return EngineSession(
        name, state=ParkState.RESIDENT, block_ids=blocks, hashes=hashes, hint_s=hint_s, parked_s=parked_s
    )


def turn() -> Request:
    return Request("turn", [1], SamplingParams(max_tokens=1))


def test_the_three_prices_by_hand() -> None:
    cost = priced().of(num_blocks=10, num_tokens=40, remaining_s=3.0, num_running_blocks=50)
    assert cost.keep == pytest.approx(3.0 * 10)
    assert cost.offload == pytest.approx(10 * 0.002 * 10)
    assert cost.drop == pytest.approx(40 * 0.01 * (10 + 50)), "the running batch waits for the recompute too"


def test_the_first_measurement_replaces_the_guess_and_later_ones_are_smoothed() -> None:
    costs = ParkCosts()
    guess = costs.prefill_s(1), costs.copy_s(1)
    assert guess == (1e-3, 1e-4)
    costs.learn_prefill(1000, 0.5)
    costs.learn_copy(50, 0.1)
    assert costs.prefill_s(4) == pytest.approx(4 * 0.0005)
    assert costs.copy_s(4) == pytest.approx(4 * 0.002)
    costs.learn_prefill(1000, 1.5)
    costs.learn_copy(50, 1.1)
    assert costs.prefill_s(1) == pytest.approx(0.0005 + 0.1 * 0.001)
    assert costs.copy_s(1) == pytest.approx(0.002 + 0.1 * 0.02)


@given(st.lists(st.tuples(st.integers(1, 5000), st.floats(1e-6, 10)), min_size=1, max_size=30))
def test_what_is_learnt_lies_within_what_was_measured(steps: list[tuple[int, float]]) -> None:
    costs = ParkCosts()
    for num_tokens, seconds in steps:
        costs.learn_prefill(num_tokens, seconds)
    each = [seconds / num_tokens for num_tokens, seconds in steps]
    assert min(each) * (1 - 1e-9) <= costs.prefill_s(1) <= max(each) * (1 + 1e-9)


@pytest.mark.parametrize(("num_host_blocks", "can"), [(0, False), (9, False), (10, True)])
def test_what_the_host_tier_has_no_room_for_cannot_be_offloaded_at_any_price(num_host_blocks: int, can: bool) -> None:
    cost = outlook(num_host_blocks).cost(parked("s", 10), 0.0, 0)
    assert math.isfinite(cost.offload) is can


def test_the_hint_beats_the_estimate_until_it_is_overdue() -> None:
    view = outlook()
    for _ in range(10):
        view.pauses.observe(None, 100.0)
    session = parked("s", 1, parked_s=50.0, hint_s=7.0)
    assert view.remaining_s(session, 52.0) == pytest.approx(5.0)
    assert view.remaining_s(session, 60.0) == pytest.approx(90.0), "the hint was wrong: what others took is asked"
    session.request = turn()
    assert view.remaining_s(session, 52.0) == 0.0, "it is back"


def test_a_pin_lives_until_nine_of_ten_pauses_have_ended() -> None:
    view = outlook()
    for seconds in range(10, 110, 10):
        view.pauses.observe("grep", float(seconds))
    session = parked("s", 1)
    session.tool = "grep"
    assert view.keep_s(session, 0.0) == 100.0
    assert view.keep_s(session, 35.0) == 65.0
    session.hint_s = 500.0
    assert view.keep_s(session, 0.0) == 500.0, "a longer hint is believed"
    for _ in range(300):
        view.pauses.observe("grep", 0.01)
    session.hint_s = None
    assert view.keep_s(session, 0.0) == 1.0, "a second at least"


def test_prefetch_begins_early_enough_for_the_copy() -> None:
    view = outlook()
    session = parked("s", 50, hint_s=30.0)  # to copy it takes 0.1 s, and there are 0.02 s of slack
    assert view.prefetch_in_s(session, 0.0) == pytest.approx(29.88)
    assert view.prefetch_in_s(session, 29.95) == 0.0
    assert view.prefetch_in_s(session, 40.0) is None, "the hint was wrong, and says nothing any more"


@pytest.mark.parametrize(("usual_s", "expected_s"), [(1.5, 1.38), (2.1, None), (60.0, None)])
def test_without_a_hint_only_a_near_return_is_prepared_for(usual_s: float, expected_s: float | None) -> None:
    view = outlook()
    for _ in range(10):
        view.pauses.observe(None, usual_s)
    delay_s = view.prefetch_in_s(parked("s", 50), 0.0)
    assert delay_s == (None if expected_s is None else pytest.approx(expected_s))


def test_the_most_wasteful_is_the_one_expected_last_for_its_size_and_the_returned_come_last() -> None:
    view = outlook()
    soon, late = parked("soon", 10, hint_s=1.0), parked("late", 10, hint_s=50.0, parked_s=5.0)
    back = parked("back", 10, hint_s=900.0)
    back.request = turn()
    order = view.most_wasteful_first([back, soon, late], 0.0, 20, by_waste=True)
    assert [session.session_id for session, _ in order] == ["late", "soon", "back"]
    by_age = view.most_wasteful_first([back, late, soon], 0.0, 20, by_waste=False)
    assert [session.session_id for session, _ in by_age] == ["soon", "late", "back"]


@given(
    st.lists(st.tuples(st.integers(1, 50), st.floats(0, 100), st.booleans()), min_size=1, max_size=12),
    st.integers(0, 500),
    st.booleans(),
)
def test_nobody_that_waits_is_broken_before_anybody_that_is_parked(
    sizes: list[tuple[int, float, bool]], num_running_blocks: int, by_waste: bool
) -> None:
    sessions = []
    for number, (num_blocks, hint_s, is_back) in enumerate(sizes):
        session = parked(str(number), num_blocks, hint_s=hint_s)
        session.request = turn() if is_back else None
        sessions.append(session)
    order = outlook().most_wasteful_first(sessions, 0.0, num_running_blocks, by_waste=by_waste)
    are_back = [session.request is not None for session, _ in order]
    assert are_back == sorted(are_back)
    assert {session for session, _ in order} == set(sessions)


@pytest.mark.parametrize(("copy_block_s", "is_quicker"), [(0.039, True), (0.041, False)])
def test_a_restore_is_made_only_where_it_is_quicker_than_prefill(copy_block_s: float, is_quicker: bool) -> None:
    view = outlook()
    view.costs = priced(prefill_token_s=0.01, copy_block_s=copy_block_s)
    assert view.is_restore_quicker(3) is is_quicker


# Pins.


def test_reading_block_seconds_does_not_change_their_sum() -> None:
    """Sums of floats depend on where they are cut: a run must be the same whether or not its engine is watched."""
    sums = []
    for is_watched in (False, True):
        blocks = BlockManager(10, 1)
        pins = Pins(blocks)
        pins.pin(EngineSession("s"), blocks.allocate(3), 0.0)
        if is_watched:
            for tenth in range(1, 10):
                pins.block_s(tenth / 10)
        sums.append(pins.block_s(1.0))
    assert sums == [3.0, 3.0]


def test_block_seconds_count_each_pinned_block_once() -> None:
    blocks = BlockManager(10, 1)
    pins = Pins(blocks)
    one, other = EngineSession("one"), EngineSession("other")
    pins.pin(one, blocks.allocate(4), 10.0)
    assert pins.block_s(12.0) == 8.0
    blocks.acquire(one.block_ids[:2])
    pins.pin(other, [*one.block_ids[:2], *blocks.allocate(1)], 12.0)
    assert pins.num_blocks == 5
    assert pins.block_s(13.0) == 13.0
    pins.unpin(one, 14.0)
    assert (pins.num_blocks, blocks.num_held) == (3, 3)
    pins.unpin(one, 15.0)
    assert pins.block_s(15.0) == 21.0
    assert pins.block_s(14.0) == 21.0, "time does not run backwards"
    pins.unpin(other, 15.0)
    assert (pins.num_blocks, blocks.num_held, len(pins)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("wanted", "num_kept"), [([], 0), ([0], 1), ([0, 1, 9], 2), ([9, 1, 2], 0), ([0, 1, 2], 3), ([0, 1, 2, 3], 3)]
)
def test_what_is_pinned_behind_the_common_part_can_be_given_up(wanted: list[int], num_kept: int) -> None:
    blocks = BlockManager(10, 1)
    pins, session = Pins(blocks), EngineSession("s")
    pins.pin(session, blocks.allocate(3), 0.0)
    assert pins.trim(session, wanted, 1.0) is (num_kept < 3)
    assert session.block_ids == [0, 1, 2][:num_kept]
    assert pins.num_blocks == blocks.num_held == num_kept
    assert session in pins


def test_trimming_one_that_has_no_pins_does_nothing() -> None:
    pins = Pins(BlockManager(10, 1))
    session = EngineSession("s")
    assert not pins.trim(session, [1], 0.0)
    assert session not in pins


# Accounts.


@pytest.mark.parametrize(
    ("num_cached", "num_restored", "action", "num_recomputed"),
    [
        (16, 0, "kept", 0),
        (16, 2, "restored", 0),
        (13, 0, "kept", 0),  # less than a block is what an open block costs anyway
        (12, 0, "recomputed", 4),
        (0, 0, "recomputed", 16),
        (8, 1, "recomputed", 8),
    ],
)
def test_a_return_is_kept_restored_or_recomputed(
    num_cached: int, num_restored: int, action: str, num_recomputed: int
) -> None:
    account, session = ParkAccount(4), parked("s", 4)
    request = Request("r", [1] * 30, SamplingParams(max_tokens=1))
    request.block_hashes = [*session.hashes, b"new"]
    request.num_cached_tokens = num_cached
    account.returned(session, request, num_restored)
    totals = account.totals
    assert totals.recomputed_tokens == num_recomputed
    assert [getattr(totals, f"num_{name}") for name in ("kept", "restored", "recomputed")] == [
        int(action == name) for name in ("kept", "restored", "recomputed")
    ]
    (event,) = account.take_events()
    assert (event.session_id, event.action) == ("s", action)
    assert account.take_events() == []


def test_only_what_the_edited_history_still_has_counts_as_recomputed() -> None:
    account, session = ParkAccount(4), parked("s", 4)
    request = Request("r", [1] * 30, SamplingParams(max_tokens=1))
    request.block_hashes = [*session.hashes[:2], b"other", *session.hashes[3:]]
    account.returned(session, request, 0)
    assert account.totals.recomputed_tokens == 8


def test_the_last_token_of_a_prompt_that_is_all_known_is_no_loss() -> None:
    account, session = ParkAccount(1), parked("s", 5)
    request = Request("r", [1] * 5, SamplingParams(max_tokens=1))
    request.block_hashes = list(session.hashes)
    request.num_cached_tokens = 4
    account.returned(session, request, 0)
    assert (account.totals.num_kept, account.totals.recomputed_tokens) == (1, 0)


def test_a_decision_is_noted_with_its_costs() -> None:
    account, session = ParkAccount(4), parked("s", 3)
    session.tool = "grep"
    account.note(session, "offload", 1.23456, ParkCost(3.70368, 0.5, math.inf))
    (event,) = account.take_events()
    assert (event.action, event.num_blocks, event.tool, event.remaining_s) == ("offload", 3, "grep", 1.235)
    assert (event.keep_cost, event.offload_cost, event.drop_cost) == (3.704, 0.5, math.inf)
