"""The steps that a device is measured by, on devices whose times are known."""

from __future__ import annotations

import pytest
from abatch.engine.assembly.step_grid import StepGrid, step_kinds
from abatch.engine.scheduling.limits import SchedulerConfig
from abatch.engine.simulation.device_profile import DEVICES, HostOverhead
from abatch.engine.simulation.fit import StepsOf, fit_steps
from abatch.engine.simulation.model_shape import SHAPES
from abatch.engine.simulation.roofline import Roofline
from abatch.engine.simulation.simulated_runner import SimulatedRunner
from abatch.engine.simulation.step_work import StepWork
from abatch.engine.timing.clock import SteppedClock
from support.measured_profiles import made_steps

_LIMITS = SchedulerConfig(max_num_seqs=64, max_num_batched_tokens=256, max_model_len=8192)


@pytest.mark.parametrize(
    ("limits", "num_blocks"),
    [
        (_LIMITS, 1000),
        (SchedulerConfig(max_num_seqs=1, max_num_batched_tokens=1, max_model_len=40), 3),
        (SchedulerConfig(max_num_seqs=3, max_num_batched_tokens=5, max_model_len=64), 8),
        (SchedulerConfig(max_num_seqs=256, max_num_batched_tokens=2048, max_model_len=131072), 50_000),
    ],
)
def test_no_step_is_beyond_the_limits(limits: SchedulerConfig, num_blocks: int) -> None:
    kinds = step_kinds(limits, num_blocks, 16)
    assert len({str(kind) for kind in kinds}) == len(kinds) >= 1
    for kind in kinds:
        sequences = list(kind.sequences())
        assert kind.num_tokens == sum(end - start for start, end, _ in sequences) <= limits.max_num_batched_tokens
        assert len(sequences) <= limits.max_num_seqs
        assert all(0 <= start < end < limits.max_model_len for start, end, _ in sequences)
        assert sum(-(-end // 16) for _, end, _ in sequences) <= num_blocks
    assert max(kind.num_decodes for kind in kinds) == limits.max_num_seqs


def _grid(runner: SimulatedRunner, clock: SteppedClock, budget_s: float) -> StepGrid:
    kinds = step_kinds(_LIMITS, 2000, 16)
    return StepGrid(runner, 1000, SHAPES["smollm2-135m"], 16, kinds, budget_s, clock.time)


@pytest.mark.parametrize("is_synchronous", [True, False])
def test_a_simulated_device_is_measured_as_what_it_is(is_synchronous: bool) -> None:
    shape, device, clock = SHAPES["smollm2-135m"], DEVICES["h100"], SteppedClock()
    roofline = Roofline(shape, device)
    steps = made_steps(model=shape, is_synchronous=is_synchronous)
    runner = SimulatedRunner(roofline, clock, HostOverhead(1e-3), measured=steps)
    measured = _grid(runner, clock, 60.0).run()
    for step in measured:
        assert step.seconds == pytest.approx(roofline.seconds(step.work), rel=1e-6), "the host is no part of a step"
    of = StepsOf(model=shape, dtype="bfloat16", version="0", attention="", is_synchronous=is_synchronous)
    fitted = fit_steps(measured, of)
    assert fitted.largest_error < 0.05
    work = StepWork(48, 48, 48 * 500, 48 * 500)
    assert fitted.seconds(work) == pytest.approx(roofline.seconds(work), rel=0.05)


@pytest.mark.parametrize(("budget_s", "expected"), [(0.0, [0, 1]), (1e9, list(range(26)))])
def test_rounds_end_with_the_budget_but_not_before_each_step_was_measured(budget_s: float, expected: list[int]) -> None:
    clock = SteppedClock()
    runner = SimulatedRunner(Roofline(SHAPES["smollm2-135m"], DEVICES["h100"]), clock, HostOverhead())
    rounds: list[int] = []
    steps = _grid(runner, clock, budget_s).run(lambda number, _: rounds.append(number))
    assert rounds == expected
    assert min(step.seconds for step in steps) > 0
