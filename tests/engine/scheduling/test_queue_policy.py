"""Who joins next, and that nobody waits for ever."""

from __future__ import annotations

import pytest
from abatch.engine.errors import ConfigurationError
from abatch.engine.kv.block_manager import BlockManager
from abatch.engine.request import Request, SamplingParams
from abatch.engine.scheduling.limits import SchedulerConfig
from abatch.engine.scheduling.queue_policy import POLICIES, PolicyName, longest_turn
from abatch.engine.scheduling.scheduler import Scheduler
from abatch.engine.scheduling.waiting_queue import WaitingQueue
from abatch.engine.session import EngineSession, ParkState, SessionUse
from hypothesis import given
from hypothesis import strategies as st

every_policy = pytest.mark.parametrize("policy", sorted(POLICIES))


def waiting(name: str, arrival_s: float = 0.0, *, attained: int = 0, state: ParkState | None = None) -> Request:
    """A request, of a session where one of these is given."""
    request = Request(name, [1], SamplingParams(max_tokens=1), arrival_s)
    if attained or state is not None:
        session = EngineSession(name, state=state or ParkState.DROPPED, attained_tokens=attained)
        request.parked_session = session
    return request


def names(queue: WaitingQueue) -> list[str]:
    return [request.request_id for request in queue]


@every_policy
@given(st.floats(0, 1e9), st.booleans(), st.integers(0, 10**12))
def test_no_rank_is_further_from_the_arrival_than_the_bound(
    policy: PolicyName, arrival_s: float, is_resumed: bool, attained: int
) -> None:
    rule = POLICIES[policy]()
    rank = rule.rank(waiting("x", arrival_s), is_resumed=is_resumed, attained_tokens=attained)
    assert abs(rank - arrival_s) <= rule.bound_s


_ARRIVALS = st.lists(
    st.tuples(
        st.floats(0, 3),
        st.integers(0, 100_000),
        st.sampled_from([None, ParkState.RESIDENT, ParkState.HOST]),
        st.booleans(),
    ),
    max_size=60,
)
"""Time since the one before, tokens attained, what is held for its session, whether somebody joins after it."""


@every_policy
@given(_ARRIVALS)
def test_nobody_is_overtaken_by_one_that_came_much_later(
    policy: PolicyName, arrivals: list[tuple[float, int, ParkState | None, bool]]
) -> None:
    queue, now_s, joined = WaitingQueue(POLICIES[policy]()), 0.0, []
    for number, (since_s, attained, state, joins) in enumerate(arrivals):
        now_s += since_s
        queue.add(waiting(str(number), now_s, attained=attained, state=state))
        if joins:
            first = queue.pop()
            joined.append(first)
            left = [other.arrival_s for other in queue]
            assert all(first.arrival_s <= other_s + 2 * queue._policy.bound_s + 1e-9 for other_s in left)
    assert all(one.arrival_s is not None for one in joined)


def test_first_come_looks_at_nothing_but_the_arrival() -> None:
    queue = WaitingQueue(POLICIES["fcfs"]())
    queue.add(waiting("first", 0.0, attained=10**9))
    queue.add(waiting("second", 0.0))
    queue.add(waiting("third", 0.1, state=ParkState.RESIDENT))
    assert names(queue) == ["first", "second", "third"]


@pytest.mark.parametrize("state", [ParkState.RESIDENT, ParkState.HOST])
def test_resume_first_favours_a_session_whose_context_is_held(state: ParkState) -> None:
    queue = WaitingQueue(POLICIES["resume-first"]())
    queue.add(waiting("new", 0.0))
    queue.add(waiting("dropped", 0.5, state=ParkState.DROPPED))
    queue.add(waiting("held", 1.9, state=state))
    assert names(queue) == ["held", "new", "dropped"]
    queue.add(waiting("held, too late", 2.6, state=state))
    assert names(queue) == ["held", "new", "dropped", "held, too late"]


def test_least_attained_favours_the_session_that_has_had_less() -> None:
    queue = WaitingQueue(POLICIES["least-attained"]())
    queue.add(waiting("old agent", 0.0, attained=10**7))
    queue.add(waiting("young agent", 0.5, attained=8192))
    queue.add(waiting("chat", 1.0))
    queue.add(waiting("too late", 5.1))
    assert names(queue) == ["chat", "young agent", "old agent", "too late"]


@every_policy
def test_the_preempted_go_before_all_and_the_yielded_behind_all(policy: PolicyName) -> None:
    queue = WaitingQueue(POLICIES[policy]())
    for name in ("a", "b"):
        queue.add(waiting(name, 10.0))
    queue.add_last(waiting("yielded", 0.0, state=ParkState.RESIDENT))
    queue.add_first(waiting("preempted", 9.0, attained=10**9))
    assert names(queue) == ["preempted", "a", "b", "yielded"]
    queue.add(waiting("late", 100.0))
    assert names(queue) == ["preempted", "a", "b", "yielded", "late"], "it lets those go first that wait already"
    queue.remove(queue[2])
    assert names(queue) == ["preempted", "a", "yielded", "late"]
    with pytest.raises(ValueError, match="not in list"):
        queue.remove(waiting("never"))


@every_policy
def test_a_yielded_request_in_an_empty_queue_waits_by_its_arrival(policy: PolicyName) -> None:
    queue = WaitingQueue(POLICIES[policy]())
    queue.add_last(waiting("yielded", 4.0))
    queue.add(waiting("late", 20.0))
    assert names(queue) == ["yielded", "late"]


def test_a_policy_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="--policy must be one of fcfs, resume-first, least-attained"):
        SchedulerConfig(policy="lifo")  # type: ignore[arg-type]


# Turns that never end.


def steps_until_short_ends(
    slice_tokens: int, *, max_tokens: int = 400, is_session: bool = True
) -> tuple[int, Scheduler]:
    """Two places, two endless turns on them, then a short request: how many steps it waits, at most 300."""
    config = SchedulerConfig(
        batching="continuous", max_num_seqs=2, max_num_batched_tokens=64, max_model_len=500, slice_tokens=slice_tokens
    )
    scheduler = Scheduler(config, BlockManager(400, 4))
    for name in ("a", "b"):
        use = SessionUse(session_id=name) if is_session else None
        scheduler.submit(Request(name, [ord(name)] * 5, SamplingParams(max_tokens=max_tokens), session=use))
    step(scheduler)
    short = Request("short", [7, 8, 9], SamplingParams(max_tokens=2))
    scheduler.submit(short)
    for number in range(300):
        step(scheduler)
        if short.finish_reason is not None:
            return number, scheduler
    return 300, scheduler


def step(scheduler: Scheduler) -> None:
    """One step, in which each request's token is the length of what it has."""
    batch = scheduler.schedule(0.0)
    if batch is not None:
        scheduler.commit(batch, [chunk.end for chunk in batch.chunks if chunk.samples])


@pytest.mark.parametrize("slice_tokens", [1, 8, 50])
def test_two_endless_turns_keep_a_short_request_waiting_for_a_slice_and_no_longer(slice_tokens: int) -> None:
    num_steps, scheduler = steps_until_short_ends(slice_tokens)
    assert slice_tokens <= num_steps + 2
    assert num_steps <= slice_tokens + 4
    assert scheduler.num_yields in (1, 2), "the other turn may make way for the first in its turn"


def test_without_rotation_they_would_keep_it_waiting_to_their_end() -> None:
    assert steps_until_short_ends(10**9)[0] == 300


def test_only_turns_of_sessions_make_way() -> None:
    num_steps, scheduler = steps_until_short_ends(8, is_session=False)
    assert (num_steps, scheduler.num_yields) == (300, 0)


def test_turns_that_made_way_end_with_exactly_their_tokens() -> None:
    _, scheduler = steps_until_short_ends(8, max_tokens=120)
    turns = [*scheduler.running, *scheduler.waiting]
    assert {turn.request_id for turn in turns} == {"a", "b"}
    for number in range(1000):
        if not scheduler.has_work:
            break
        if number % 9 == 0:
            scheduler.submit(Request(str(number), [number], SamplingParams(max_tokens=3)))
        step(scheduler)
    assert scheduler.num_yields > 5
    for turn in turns:
        assert turn.token_ids == [ord(turn.request_id)] * 5 + list(range(5, 125))
        assert turn.finish_reason == "length"


def test_what_a_session_has_attained_is_what_was_computed_for_it() -> None:
    scheduler = Scheduler(
        SchedulerConfig(batching="continuous", policy="least-attained", max_model_len=90), BlockManager(99, 1)
    )
    prompt = list(range(100, 110))
    for attained in (10 + 3, 10 + 3 + 5 + 3 + 1):
        request = Request("turn", list(prompt), SamplingParams(max_tokens=3), session=SessionUse(session_id="s"))
        scheduler.submit(request)
        while scheduler.has_work:
            step(scheduler)
        session = scheduler.parking.find("s")
        assert session is not None
        assert session.attained_tokens == attained
        prompt = [*request.token_ids, *range(200, 205)]


def test_nobody_makes_way_while_nobody_is_left_waiting() -> None:
    config = SchedulerConfig(batching="continuous", max_num_seqs=3, max_num_batched_tokens=64, slice_tokens=2)
    scheduler = Scheduler(config, BlockManager(3000, 4))
    for name in ("a", "b"):
        request = Request(name, [ord(name)], SamplingParams(max_tokens=40), session=SessionUse(session_id=name))
        scheduler.submit(request)
    for number in range(40):
        if number == 20:
            scheduler.submit(Request("short", [3], SamplingParams(max_tokens=2)))
        step(scheduler)
    assert scheduler.num_yields == 0, "there was a place for everybody"


def test_the_one_that_has_generated_most_since_it_joined_makes_way() -> None:
    turns = []
    for name, num_tokens, slice_start in (("a", 30, 25), ("b", 20, 4), ("c", 90, 88), ("no session", 200, 0)):
        request = Request(name, [1] * num_tokens, SamplingParams(max_tokens=1))
        request.slice_start = slice_start
        request.parked_session = None if name == "no session" else EngineSession(name)
        turns.append(request)
    assert longest_turn(turns, 16) is turns[1]
    assert longest_turn(turns, 17) is None
    assert longest_turn([], 1) is None
