"""Sessions that park, resume, are edited, cancelled and ended: nothing leaks, nothing is lost, everybody ends."""

from __future__ import annotations

from collections import Counter

import pytest
from abatch.engine.errors import SessionBusyError
from abatch.engine.kv.block_manager import BlockManager
from abatch.engine.loop.engine import Engine
from abatch.engine.parking.config import PARK_POLICIES, ParkingConfig, ParkPolicy
from abatch.engine.request import Request, SamplingParams
from abatch.engine.scheduling.limits import BATCHING_MODES, Batching, SchedulerConfig
from abatch.engine.scheduling.queue_policy import POLICIES
from abatch.engine.session import ParkState, SessionUse
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule, run_state_machine_as_test
from support.checking_runner import CheckingRunner
from support.examples import examples
from support.scheduler_machine import BoundedScheduler, SchedulerMachine

_Turn = tuple[str, list[int], int, str | None, float | None]
_TURNS = st.tuples(
    st.sampled_from(["s0", "s1", "s2", "s3"]),
    st.lists(st.integers(0, 1), min_size=1, max_size=5),
    st.integers(1, 8),
    st.sampled_from([None, "fast", "slow"]),
    st.sampled_from([None, None, 0.1, 2.0]),
)
"""Session, what is new, max_tokens, what it waits for afterwards, how long the client says that takes."""


class SessionMachine(SchedulerMachine):
    """The scheduler's machine, with requests that are turns of sessions."""

    park: ParkPolicy

    @initialize(
        block_size=st.sampled_from([1, 2]),
        num_blocks=st.integers(12, 20),
        max_num_seqs=st.integers(2, 4),
        extra_budget=st.integers(0, 20),
        num_host_blocks=st.integers(0, 30),
        policy=st.sampled_from(sorted(POLICIES)),
        slice_tokens=st.integers(1, 6),
    )
    def start(
        self,
        block_size: int,
        num_blocks: int,
        max_num_seqs: int,
        extra_budget: int,
        num_host_blocks: int,
        policy: str,
        slice_tokens: int,
    ) -> None:
        self.now_s = 0.0
        self.num_submitted = 0
        self.live = {}
        self.ends = Counter()
        self.tokens: dict[str, list[int]] = {}
        self.blocks = BlockManager(num_blocks, block_size)
        config = SchedulerConfig(
            batching=self.batching,
            max_num_seqs=max_num_seqs,
            max_num_batched_tokens=max_num_seqs + extra_budget,
            max_model_len=min(num_blocks * block_size, 40),
            window_size=3,
            window_timeout_s=0.5,
            policy=policy,  # type: ignore[arg-type]
            slice_tokens=slice_tokens,
        )
        parking = ParkingConfig(policy=self.park, host_num_blocks=num_host_blocks, session_timeout_s=5.0, block_bytes=1)
        self.scheduler = BoundedScheduler(config, self.blocks, parking)
        self.runner = CheckingRunner(num_blocks, block_size)
        self.engine = Engine(self.scheduler, self.runner, lambda: self.now_s)

    @rule(turns=st.lists(_TURNS, min_size=1, max_size=4), forgets=st.integers(0, 3), ends=st.integers(0, 9))
    def next_turns(self, turns: list[_Turn], forgets: int, ends: int) -> None:
        for turn in turns:
            self.next_turn(turn, forgets, ends == 0)

    def next_turn(self, turn: _Turn, forgets: int, ends: bool) -> None:
        session_id, new, max_tokens, tool, pause_s = turn
        known = self.tokens.get(session_id, [])
        prompt = [*known[: len(known) - forgets], *new]
        if len(prompt) + max_tokens > self.scheduler.config.max_model_len:
            prompt = new[:2]
        self.num_submitted += 1
        use = SessionUse(session_id=session_id, next_tool=tool, expected_pause_s=pause_s, ends_session=ends)
        request = Request(str(self.num_submitted), prompt, SamplingParams(max_tokens=max_tokens), session=use)
        is_busy = any(r.session is not None and r.session.session_id == session_id for r in self.live.values())
        known_session = self.scheduler.parking.find(session_id)
        if is_busy and known_session is not None and known_session.request is not None:
            with pytest.raises(SessionBusyError):
                self.engine.submit(request)
            self.seen["busy"] += 1
            return
        self.engine.submit(request)
        self.live[request.request_id] = request
        self.tokens[session_id] = request.token_ids

    @rule(session_id=st.sampled_from(["s0", "s1", "s2", "s3", "never"]))
    def end_session(self, session_id: str) -> None:
        was_there = self.scheduler.parking.find(session_id) is not None
        assert self.engine.end_session(session_id) is was_there
        self.seen["ended"] += was_there

    @rule(arrive=st.booleans())
    def copies(self, arrive: bool) -> None:
        self.runner.copies_arrive = arrive

    @precondition(lambda self: hasattr(self, "runner"))
    @rule()
    def everyone_ends(self) -> None:
        self.runner.copies_arrive = True
        super().everyone_ends()

    @rule()
    def all_sessions_expire(self) -> None:
        self.everyone_ends()
        for _ in range(5):
            self.now_s += 6.0
            self.engine.step()
        assert self.scheduler.parking.num_parked == 0
        assert self.blocks.num_held == 0
        assert self.scheduler.parking.num_host_blocks_held == 0

    @invariant()
    def pages_are_accounted_for(self) -> None:
        if not hasattr(self, "blocks"):
            return
        scheduler, parking = self.scheduler, self.scheduler.parking
        copies = [copy for copy, _ in self.engine._copies]
        held = Counter(block for request in scheduler.running + scheduler.restoring for block in request.block_ids)
        held.update(block for fence in scheduler.fences for block in fence.block_ids)
        held.update(block for session in parking._placement._pins for block in session.block_ids)
        held.update(block for copy in copies for block in copy.device_ids)
        for block in range(self.blocks.num_blocks):
            assert self.blocks._ref_counts[block] == held[block] >= 0
        on_host = Counter(block for session in parking._sessions for block in session.host_ids)
        on_host.update(block for copy in copies for block in copy.host_ids)
        assert parking.num_host_blocks_held == len(on_host)
        assert parking.num_pinned_blocks == len(
            {block for session in parking._placement._pins for block in session.block_ids}
        )
        leaving = sum(len(copy.device_ids) for copy in copies if copy.direction == "offload")
        assert parking.is_making_room == (leaving > 0)
        assert all(not request.block_ids for request in scheduler.waiting)
        slots = [request.slot for request in scheduler.running + scheduler.restoring]
        slots += [fence.slot for fence in scheduler.fences] + scheduler.fences.free_slots
        assert sorted(slots) == list(range(scheduler.config.num_slots))

    @invariant()
    def states_say_what_is_held(self) -> None:
        if not hasattr(self, "blocks"):
            return
        for session in self.scheduler.parking._sessions:
            assert (session.state is ParkState.RESIDENT) == (session in self.scheduler.parking._placement._pins)
            if session.state is ParkState.DROPPED:
                assert not session.block_ids
                assert not session.host_ids
            if session.state is ParkState.HOST:
                assert session.host_ids

    @invariant()
    def everyone_is_somewhere_once(self) -> None:
        if not hasattr(self, "blocks"):
            return
        places = [*self.scheduler.waiting, *self.scheduler.running, *self.scheduler.restoring]
        assert sorted(request.request_id for request in places) == sorted(self.live)

    @invariant()
    def requests_join_in_order_of_arrival(self) -> None:
        """Not here: policies, slices and copies change the order. That everyone ends is checked."""

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "scheduler"):
            totals = self.scheduler.parking.totals(self.now_s)
            for name in ("num_parked", "num_kept", "num_restored", "num_recomputed", "num_broken", "num_prefetched"):
                self.seen[name] += getattr(totals, name)
            self.seen["yields"] += self.scheduler.num_yields
            self.seen["offloaded"] += totals.offloaded_bytes


_EXPECTED = {
    "keep": ("num_kept", "num_broken", "num_recomputed"),
    "offload": ("offloaded", "num_kept", "num_restored"),
    "drop": ("num_kept", "num_recomputed"),
    "auto": ("offloaded", "num_kept", "num_broken"),
}
"""What must have been seen under each policy."""


@pytest.mark.hypothesis
@pytest.mark.parametrize("park", PARK_POLICIES)
@pytest.mark.parametrize("batching", BATCHING_MODES)
def test_sessions(batching: Batching, park: ParkPolicy) -> None:
    seen: Counter[str] = Counter()
    events = [*_EXPECTED[park], "num_parked", "ended"]
    for attempt in range(3):  # what is rare is not seen by every draw, and the draw depends on what else is imported
        machine = type(f"Machine{attempt}", (SessionMachine,), {"batching": batching, "park": park, "seen": seen})
        run_state_machine_as_test(machine, settings=settings(examples(0.5), stateful_step_count=40))
        if all(seen[event] > 0 for event in events):
            return
    raise AssertionError(f"never seen: {[event for event in events if not seen[event]]} ({seen})")
