"""Single decisions of the scheduler."""

from __future__ import annotations

import pytest
from abatch.engine.errors import ConfigurationError, ContextLengthError
from abatch.engine.kv.block_manager import BlockManager
from abatch.engine.request import Batch, Request, SamplingParams
from abatch.engine.scheduling.limits import Batching, SchedulerConfig
from abatch.engine.scheduling.scheduler import Scheduler


def make_scheduler(
    *,
    num_blocks: int = 100,
    block_size: int = 4,
    budget: int = 32,
    max_num_seqs: int = 8,
    batching: Batching = "continuous",
    window_size: int = 4,
) -> Scheduler:
    config = SchedulerConfig(
        batching=batching,
        max_num_seqs=max_num_seqs,
        max_num_batched_tokens=budget,
        max_model_len=num_blocks * block_size,
        window_size=window_size,
        window_timeout_s=1.0,
    )
    return Scheduler(config, BlockManager(num_blocks, block_size))


def request(
    name: str, num_prompt: int, max_tokens: int = 8, *, token: int | None = None, arrival_s: float = 0.0
) -> Request:
    """A request whose prompt differs from all others from its first token on, unless `token` says otherwise."""
    first = token if token is not None else abs(hash(name)) % 100_000
    return Request(name, [first] * num_prompt, SamplingParams(max_tokens=max_tokens), arrival_s)


def step(scheduler: Scheduler, now_s: float = 0.0, token: int = 1) -> dict[str, int]:
    """Plan and commit one step; tokens computed by request."""
    batch = scheduler.schedule(now_s)
    if batch is None:
        return {}
    scheduler.commit(batch, [token] * sum(chunk.samples for chunk in batch.chunks))
    return {chunk.request.request_id: chunk.num_tokens for chunk in batch.chunks}


def num_fenced(scheduler: Scheduler) -> int:
    """Blocks of requests that are gone, held until the step in flight is committed."""
    return sum(len(fence.block_ids) for fence in scheduler.fences)


def test_a_long_prompt_is_prefilled_in_chunks() -> None:
    scheduler = make_scheduler(budget=32)
    scheduler.submit(request("long", 70))
    assert [step(scheduler)["long"] for _ in range(4)] == [32, 32, 6, 1]


def test_decodes_come_first_and_prefills_get_the_rest_of_the_budget() -> None:
    scheduler = make_scheduler(budget=10)
    scheduler.submit(request("a", 3))
    scheduler.submit(request("b", 3))
    step(scheduler)
    scheduler.submit(request("long", 50))
    assert step(scheduler) == {"a": 1, "b": 1, "long": 8}


def test_a_short_prompt_does_not_wait_for_a_long_one() -> None:
    scheduler = make_scheduler(budget=32)
    scheduler.submit(request("long", 300))
    step(scheduler)
    scheduler.submit(request("short", 10))
    assert step(scheduler) == {"long": 22, "short": 10}


def test_the_oldest_prefill_always_gets_half() -> None:
    scheduler = make_scheduler(budget=32)
    scheduler.submit(request("long", 300))
    for index in range(7):
        scheduler.submit(request(f"other-{index}", 30))
    assert step(scheduler)["long"] == 16


def test_the_last_to_join_is_preempted_and_comes_back_first() -> None:
    scheduler = make_scheduler(num_blocks=6, block_size=4, budget=32)
    scheduler.submit(request("old", 8, max_tokens=12))
    scheduler.submit(request("young", 8, max_tokens=12))
    scheduler.submit(request("waiting", 8))
    computed = [set(step(scheduler)) for _ in range(6)]
    assert computed == [{"old", "young"}] * 5 + [{"old"}]
    assert [r.request_id for r in scheduler.running] == ["old"]
    assert [r.request_id for r in scheduler.waiting] == ["young", "waiting"]
    assert scheduler.waiting[0].num_output > 0, "tokens already sent to a client are kept"


def test_results_of_a_step_launched_before_a_preemption_are_dropped() -> None:
    """A loop that runs ahead preempts while a step is in flight; the step's token must not be appended."""
    scheduler = make_scheduler(num_blocks=5, block_size=2, budget=16, batching="async")
    old, young = request("old", 3, max_tokens=5), request("young", 2, max_tokens=5)
    scheduler.submit(old)
    scheduler.submit(young)
    in_flight = scheduler.schedule(0.0)
    assert in_flight is not None
    while True:
        ahead = scheduler.schedule(0.0)
        if scheduler.num_preemptions:
            break
        scheduler.commit(in_flight, [9] * len(in_flight.chunks))
        assert ahead is not None
        in_flight = ahead
    num_output = old.num_output, young.num_output
    assert {chunk.request.request_id for chunk in in_flight.chunks} == {"old", "young"}
    scheduler.commit(in_flight, [9] * 2)
    assert (old.num_output, young.num_output) == (num_output[0] + 1, num_output[1])


def test_pages_of_a_preempted_request_come_back_when_the_step_in_flight_is_committed() -> None:
    """And until then nobody else is thrown out for want of them: the one who needs a page waits a step."""
    scheduler = make_scheduler(num_blocks=8, block_size=2, budget=16, batching="async")
    for name in ("a", "b", "c"):
        scheduler.submit(request(name, 3, max_tokens=6))
    first = scheduler.schedule(0.0)  # computes 3 tokens of each: 2 pages, 1 place free
    second = scheduler.schedule(0.0)
    assert first is not None
    assert second is not None
    scheduler.blocks.allocate(2)  # the rest is gone
    scheduler.commit(first, [9] * 3)
    assert scheduler.schedule(0.0) is None, "a needs a page: c loses its own, which the step in flight may write to"
    assert [waiting.request_id for waiting in scheduler.waiting] == ["c"]
    assert (scheduler.blocks.num_free, num_fenced(scheduler)) == (0, 2)
    scheduler.commit(second, [9] * 3)
    assert (scheduler.blocks.num_free, num_fenced(scheduler)) == (2, 0)
    assert set(step(scheduler)) == {"a", "b"}
    assert scheduler.num_preemptions == 1


def test_pages_about_to_come_back_are_waited_for() -> None:
    """A request whose last token is in flight ends when it is committed: nobody is preempted for its pages."""
    scheduler = make_scheduler(num_blocks=5, block_size=2, budget=16, batching="async")
    scheduler.submit(request("stays", 3, max_tokens=5))
    scheduler.submit(request("ends", 3, max_tokens=2))
    first = scheduler.schedule(0.0)
    second = scheduler.schedule(0.0)
    assert first is not None
    assert second is not None
    scheduler.blocks.allocate(1)  # the rest is gone
    scheduler.commit(first, [9] * 2)
    assert scheduler.schedule(0.0) is None
    assert scheduler.num_preemptions == 0
    scheduler.commit(second, [9] * 2)
    assert set(step(scheduler)) == {"stays"}


def test_a_place_is_free_as_soon_as_its_owner_is_certain_to_end() -> None:
    """The step after the last one of a request has its successor in it, though its last token is yet to come."""
    scheduler = make_scheduler(max_num_seqs=2, batching="async")
    for name, max_tokens in (("a", 1), ("b", 4), ("c", 1)):
        scheduler.submit(request(name, 3, max_tokens=max_tokens))
    first = scheduler.schedule(0.0)
    second = scheduler.schedule(0.0)
    assert first is not None
    assert second is not None
    names = [sorted(chunk.request.request_id for chunk in batch.chunks) for batch in (first, second)]
    assert names == [["a", "b"], ["b", "c"]]
    slots = {chunk.request.slot for batch in (first, second) for chunk in batch.chunks}
    assert len(slots) == 3, "a and c, both in flight, have different slots"


def test_the_end_by_a_stop_token_is_noticed_a_step_late_and_the_extra_token_dropped() -> None:
    scheduler = make_scheduler(batching="async", max_num_seqs=1)
    sampling = SamplingParams(max_tokens=9, stop_token_ids=frozenset([7]))
    scheduler.submit(Request("stops", [1, 2, 3], sampling))
    scheduler.submit(request("next", 3))
    first = scheduler.schedule(0.0)
    second = scheduler.schedule(0.0)
    assert first is not None
    assert second is not None
    (token,) = scheduler.commit(first, [7])
    assert token.request.finish_reason == "stop"
    third = scheduler.schedule(0.0)
    assert third is not None
    assert [chunk.request.request_id for chunk in third.chunks] == ["next"], "replaced in the very next step planned"
    assert scheduler.commit(second, [8]) == []
    assert token.request.token_ids == [1, 2, 3, 7]


def test_they_are_dropped_even_if_the_request_runs_again_by_then() -> None:
    scheduler = make_scheduler()
    one = request("one", 3)
    scheduler.submit(one)
    in_flight = scheduler.schedule(0.0)
    assert in_flight is not None
    scheduler._preempt(one)  # as a step planned ahead would, for want of blocks
    again = scheduler.schedule(0.0)
    assert again is not None
    assert scheduler.commit(in_flight, [9]) == []
    assert one.num_output == 0
    assert [token.token_id for token in scheduler.commit(again, [8])] == [8]


def test_no_step_is_planned_for_a_request_certain_to_end() -> None:
    scheduler = make_scheduler()
    scheduler.submit(request("one", 3, max_tokens=1))
    assert scheduler.schedule(0.0) is not None
    assert scheduler.schedule(0.0) is None, "its only token is in flight"


@pytest.mark.parametrize("batching", ["continuous", "async"])
def test_a_cancelled_request_gives_its_pages_back_once(batching: Batching) -> None:
    scheduler = make_scheduler(num_blocks=100, batching=batching)
    victim = request("victim", 30)
    scheduler.submit(victim)
    batch = scheduler.schedule(0.0)
    assert batch is not None
    scheduler.cancel(victim)
    assert scheduler.blocks.num_free < 100, "the step in flight still writes to them"
    assert scheduler.commit(batch, [1]) == []
    assert scheduler.blocks.num_free == 100
    scheduler.cancel(victim)
    assert scheduler.blocks.num_free == 100


def test_a_request_cancelled_while_no_step_of_it_is_in_flight_gives_its_pages_back_at_once() -> None:
    scheduler = make_scheduler(num_blocks=100)
    victim = request("victim", 30)
    scheduler.submit(victim)
    step(scheduler)
    scheduler.cancel(victim)
    assert scheduler.blocks.num_free == 100


def test_a_prefix_computed_by_one_request_is_used_by_the_next() -> None:
    scheduler = make_scheduler(block_size=4)
    scheduler.submit(request("first", 21, token=5, max_tokens=1))
    step(scheduler)
    second = request("second", 21, token=5, max_tokens=1)
    scheduler.submit(second)
    assert step(scheduler) == {"second": 1}, "five full blocks are cached, the last token is always computed"
    assert second.num_cached_tokens == 20


def test_a_full_cache_hit_still_computes_one_token() -> None:
    scheduler = make_scheduler(block_size=4)
    scheduler.submit(request("first", 20, token=5, max_tokens=1))
    step(scheduler)
    scheduler.submit(request("second", 20, token=5, max_tokens=1))
    assert step(scheduler) == {"second": 4}


def test_what_does_not_fit_the_context_is_refused() -> None:
    scheduler = make_scheduler(num_blocks=10, block_size=4)
    with pytest.raises(ContextLengthError, match="context is 40 tokens"):
        scheduler.submit(request("big", 33, max_tokens=8))
    with pytest.raises(ContextLengthError, match="empty"):
        scheduler.submit(request("empty", 0))


def test_a_context_beyond_the_kv_memory_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="--max-model-len to 40"):
        Scheduler(SchedulerConfig(max_model_len=41), BlockManager(10, 4))


def test_a_window_waits_for_its_size_or_its_timeout_and_lets_nobody_in_before_it_has_ended() -> None:
    scheduler = make_scheduler(batching="window", window_size=2)
    scheduler.submit(request("a", 3, max_tokens=2, arrival_s=10.0))
    assert step(scheduler, 10.5) == {}
    assert scheduler.next_step_at_s() == 11.0
    scheduler.submit(request("b", 3, max_tokens=4, arrival_s=10.6))
    for name in ("c", "d", "e"):
        scheduler.submit(request(name, 3, max_tokens=1, arrival_s=10.6))
    assert set(step(scheduler, 10.6)) == {"a", "b"}
    assert set(step(scheduler, 10.7)) == {"a", "b"}
    assert set(step(scheduler, 10.8)) == {"b"}, "a has ended; its place stays empty"
    assert set(step(scheduler, 10.9)) == {"b"}
    assert set(step(scheduler, 11.0)) == {"c", "d"}
    assert step(scheduler, 11.1) == {}, "one waits, which is no window"
    assert set(step(scheduler, 11.6)) == {"e"}


def test_continuous_batching_replaces_a_finished_request_in_the_next_step() -> None:
    scheduler = make_scheduler(max_num_seqs=2)
    for name, max_tokens in (("a", 1), ("b", 4), ("c", 1)):
        scheduler.submit(request(name, 3, max_tokens=max_tokens))
    assert set(step(scheduler)) == {"a", "b"}
    assert set(step(scheduler)) == {"b", "c"}


def test_an_empty_batch_is_none_and_says_when_to_ask_again() -> None:
    scheduler = make_scheduler()
    assert scheduler.schedule(0.0) is None
    assert scheduler.next_step_at_s() is None
    assert Batch().num_prefill_tokens == 0
