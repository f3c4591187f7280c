"""The step loop against a device of known step time, on a clock that jumps: what overlaps, and what is counted."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from abatch.engine.kv.block_copy import BlockCopy, LaunchedCopy
from abatch.engine.kv.block_manager import BlockManager
from abatch.engine.loop.engine import Engine, TokenOutput
from abatch.engine.loop.step_log import StepRecord
from abatch.engine.request import Batch, Request, SamplingParams
from abatch.engine.runner import StepResult
from abatch.engine.scheduling.limits import Batching, SchedulerConfig
from abatch.engine.scheduling.scheduler import Scheduler
from abatch.engine.simulation.device_profile import HostOverhead, load_device
from abatch.engine.simulation.model_shape import load_shape
from abatch.engine.simulation.roofline import Roofline
from abatch.engine.simulation.simulated_runner import SimulatedRunner
from abatch.engine.timing.clock import SteppedClock

_STEP_S, _HOST_S = 0.005, 0.001


@dataclass(slots=True)
class Loop:
    """An engine on a device of 5 ms steps and a host of 1 ms, and what it did."""

    batching: Batching
    max_num_seqs: int = 8
    clock: SteppedClock = field(default_factory=SteppedClock)
    steps: list[StepRecord] = field(default_factory=list)
    engine: Engine = field(init=False)

    def __post_init__(self) -> None:
        config = SchedulerConfig(
            batching=self.batching, max_num_seqs=self.max_num_seqs, max_num_batched_tokens=64, max_model_len=400
        )
        roofline = Roofline(load_shape("smollm2-135m"), load_device("simulated:5ms"))
        runner = SimulatedRunner(roofline, self.clock, HostOverhead(_HOST_S))
        scheduler = Scheduler(config, BlockManager(200, 16))
        self.engine = Engine(scheduler, runner, self.clock.time, on_step=self.steps.append)

    def submit(self, name: str, num_prompt: int = 4, max_tokens: int = 8) -> None:
        self.engine.submit(Request(name, [1] * num_prompt, SamplingParams(max_tokens=max_tokens)))

    def turn(self, until_s: float = float("inf")) -> list[TokenOutput]:
        """What an owner does: wait while there is nothing to do, else step."""
        idle_s = self.engine.idle_s()
        assert idle_s is not None
        if idle_s > 0 or self.clock.now_s >= until_s:
            self.clock.now_s = min(self.clock.now_s + idle_s, until_s)
            return []
        return self.engine.step()

    def drain(self) -> list[TokenOutput]:
        outputs = []
        while self.engine.has_work:
            outputs += self.turn()
        return outputs

    def run_until(self, at_s: float) -> list[TokenOutput]:
        outputs = []
        while self.clock.now_s < at_s:
            outputs += self.turn(at_s)
        return outputs


def test_synchronous_the_device_waits_for_the_host() -> None:
    loop = Loop("continuous")
    loop.submit("a", max_tokens=100)
    loop.drain()
    assert loop.clock.now_s == pytest.approx(100 * (_STEP_S + _HOST_S))
    totals = loop.engine.totals
    assert totals.device_busy_s == pytest.approx(100 * _STEP_S)
    assert totals.device_idle_s == pytest.approx(100 * _HOST_S)
    assert totals.host_s == pytest.approx(100 * _HOST_S)


def test_asynchronous_the_device_never_waits() -> None:
    loop = Loop("async")
    loop.submit("a", max_tokens=100)
    outputs = loop.drain()
    assert len(outputs) == 100
    assert outputs[-1].finish_reason == "length"
    assert loop.engine.totals.num_steps == 100, "no step is wasted on a certain end"
    assert loop.clock.now_s == pytest.approx(100 * _STEP_S + _HOST_S)
    assert loop.engine.totals.device_idle_s == pytest.approx(_HOST_S)
    assert loop.engine.totals.host_s == pytest.approx(100 * _HOST_S)
    for before, after in zip(loop.steps, loop.steps[1:], strict=False):
        assert after.launched_s < before.device_end_s == pytest.approx(after.device_start_s)


def test_tokens_come_out_when_their_step_ends_not_a_step_later() -> None:
    loop = Loop("async")
    loop.submit("a", max_tokens=30)
    loop.drain()
    assert [step.collected_s for step in loop.steps] == pytest.approx([step.device_end_s for step in loop.steps])


def test_what_arrives_while_a_step_runs_is_part_of_the_next_one() -> None:
    """Planned the moment the step before began, it would miss all of that and wait a whole step more."""
    loop = Loop("async")
    loop.submit("a", max_tokens=300)
    loop.run_until(1.0)
    running = loop.steps[-1].step + 1
    loop.run_until(loop.steps[-1].device_end_s + 0.6 * _STEP_S)
    loop.submit("late")
    loop.run_until(loop.clock.now_s + 3 * _STEP_S)
    (with_late,) = [step.step for step in loop.steps if step.num_prefill_tokens and step.step > 0]
    assert with_late == running + 1
    assert loop.engine.totals.device_idle_s == pytest.approx(_HOST_S), "and the device has not waited for it"


def test_the_place_of_a_finished_request_is_taken_in_the_next_step() -> None:
    loop = Loop("async", max_num_seqs=1)
    for name in ("a", "b", "c"):
        loop.submit(name, max_tokens=5)
    assert len(loop.drain()) == 15
    assert loop.engine.totals.num_steps == 15
    assert loop.engine.totals.device_idle_s == pytest.approx(_HOST_S)


def test_a_device_without_requests_is_not_idle() -> None:
    for batching in ("continuous", "async"):
        loop = Loop(batching)
        loop.submit("a", max_tokens=3)
        loop.drain()
        idle_s, host_s = loop.engine.totals.device_idle_s, loop.engine.totals.host_s
        assert loop.engine.idle_s() is None
        loop.clock.now_s += 100
        loop.submit("b", max_tokens=1)
        loop.drain()
        assert loop.engine.totals.device_idle_s - idle_s == pytest.approx(_HOST_S)
        assert loop.engine.totals.host_s - host_s == pytest.approx(_HOST_S)


def test_a_request_that_waits_for_its_window_leaves_the_device_idle() -> None:
    loop = Loop("window")
    loop.submit("a", max_tokens=1)
    loop.drain()
    assert loop.engine.totals.device_idle_s == pytest.approx(0.05 + _HOST_S)


def test_a_forecast_that_is_far_too_long_costs_two_milliseconds_a_step() -> None:
    loop = Loop("async")
    loop.submit("a", max_tokens=300)
    loop.run_until(0.5)
    loop.engine._forecast.step_s = lambda batch, **_: 1.0  # type: ignore[method-assign]
    num_steps, idle_s = loop.engine.totals.num_steps, loop.engine.totals.device_idle_s
    loop.run_until(1.0)
    assert loop.engine.totals.num_steps - num_steps > 0.5 / (_STEP_S + _HOST_S + 0.0025)
    assert loop.engine.totals.device_idle_s > idle_s


class SynchronousRunner:
    """Computes while it launches, as a CPU does: 5 ms of the device behind 1 ms of the host."""

    is_synchronous = True

    def __init__(self, clock: SteppedClock) -> None:
        self.clock = clock

    def launch(self, batch: Batch) -> FinishedStep:
        self.clock.now_s += _HOST_S
        start_s = self.clock.now_s
        self.clock.now_s += _STEP_S
        return FinishedStep(StepResult([1] * len(batch.chunks), [], start_s, self.clock.now_s, _HOST_S))

    def copy(self, copy: BlockCopy) -> LaunchedCopy:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class FinishedStep:
    """A step that was done when it was launched."""

    result: StepResult
    is_recorded: bool = False

    def is_done(self) -> bool:
        return True

    def collect(self) -> StepResult:
        return self.result


def test_what_a_synchronous_device_does_while_launching_is_not_the_host_s() -> None:
    loop = Loop("async")
    engine = Engine(loop.engine.scheduler, SynchronousRunner(loop.clock), loop.clock.time)
    engine.submit(Request("a", [1], SamplingParams(max_tokens=10)))
    while engine.has_work:
        engine.step()
    assert engine.totals.device_busy_s == pytest.approx(10 * _STEP_S)
    assert engine.totals.host_s == pytest.approx(10 * _HOST_S)
    assert engine.totals.device_idle_s == pytest.approx(10 * _HOST_S)


def test_a_synchronous_device_is_not_run_ahead_of() -> None:
    loop = Loop("async")
    runner = loop.engine._runner
    runner.is_synchronous = True
    engine = Engine(loop.engine.scheduler, runner, loop.clock.time)
    engine.submit(Request("a", [1], SamplingParams(max_tokens=2)))
    assert [output.request_id for output in engine.step()] == ["a"], "its token comes out of the step that made it"


def test_the_step_log_says_what_happened() -> None:
    loop = Loop("async")
    loop.submit("a", num_prompt=100, max_tokens=2)
    loop.submit("b", num_prompt=4, max_tokens=3)
    loop.drain()
    planned = [(step.num_prefill_tokens, step.num_decode_tokens, step.num_seqs) for step in loop.steps]
    assert planned == [(64, 0, 2), (40, 1, 2), (0, 2, 2)]
    for step in loop.steps:
        assert step.planned_s < step.launched_s <= step.device_start_s < step.device_end_s
        assert step.device_end_s <= step.collected_s <= step.committed_s
    assert {step.num_blocks_held for step in loop.steps} == {8}


class KernelByKernelRunner:
    """A device that begins a step as soon as launching it begins, and a host that cannot get far ahead of it.

    Attributes:
        launch_s: What launching takes, of which the device may make more: see `room_s`.
        step_s: What a step takes on the device.
        room_s: Work that the driver holds: launching waits until the device has no more than that before it.
        drift_s: How far the host's account of the device's times is off, each step more.
    """

    is_synchronous = False

    def __init__(self, clock: SteppedClock) -> None:
        self.clock = clock
        self.launch_s, self.step_s, self.room_s, self.drift_s = 0.001, 0.005, 10.0, 0.0
        self._free_at_s = 0.0
        self._drifted_s = 0.0

    def launch(self, batch: Batch) -> FinishedStep:
        start_s = max(self.clock.now_s, self._free_at_s)
        gap_s = start_s - self._free_at_s
        end_s = start_s + self.step_s
        self.clock.now_s = max(self.clock.now_s + self.launch_s, end_s - self.room_s)
        self._free_at_s = end_s = max(end_s, self.clock.now_s)
        self._drifted_s += self.drift_s
        times_s = start_s + self._drifted_s, end_s + self._drifted_s
        return FinishedStep(StepResult([1] * len(batch.chunks), [], *times_s, gap_s))

    def copy(self, copy: BlockCopy) -> LaunchedCopy:
        raise NotImplementedError


def test_what_the_device_was_idle_is_by_its_own_clock() -> None:
    """The host learns late, now more and now less, that a step has ended."""
    loop = Loop("continuous")
    runner = KernelByKernelRunner(loop.clock)
    engine = Engine(loop.engine.scheduler, runner, loop.clock.time, on_step=loop.steps.append)
    runner.drift_s = 0.002
    engine.submit(Request("a", [1], SamplingParams(max_tokens=20)))
    while engine.has_work:
        loop.clock.now_s = max(loop.clock.now_s, runner._free_at_s)
        engine.step()
    assert engine.totals.device_idle_s == 0.0
    assert [step.gap_s for step in loop.steps] == [0.0] * 20


def test_waiting_for_a_device_that_is_far_behind_is_not_taken_for_launching() -> None:
    loop = Loop("async")
    runner = KernelByKernelRunner(loop.clock)
    engine = Engine(loop.engine.scheduler, runner, loop.clock.time)
    engine.submit(Request("a", [1], SamplingParams(max_tokens=300)))

    def steps(count: int) -> float:
        for _ in range(count):
            engine.step()
        return engine._forecast.lead_s(1, has_prefill=False)

    launching_s = steps(40)
    assert 0.001 < launching_s < 0.002
    runner.step_s, runner.room_s = 0.050, 0.030
    assert steps(40) <= launching_s, "20 ms of each launch were spent waiting"
    runner.room_s, runner.launch_s, runner.step_s = 10.0, 0.008, 0.005
    assert steps(40) > 0.008, "the device waits for the host now, and that is learned"
