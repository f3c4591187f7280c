"""What decodes and prompts cost: learnt by size, cautious about what was never seen, soon over a stall."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from random import Random

import pytest
from abatch.engine.loop.step_costs import CostCurve, StepCosts
from abatch.engine.request import Batch

Step = tuple[int, int]
"""Decodes, and tokens of prompts."""


def cpu_s(num_decodes: int, num_prompt: int) -> float:
    """Two cores: weights are read in 14 ms, and from about ten rows on multiplying takes longer."""
    return max(0.014, 0.0013 * num_decodes + 0.001 * num_prompt)


def gpu_s(num_decodes: int, num_prompt: int) -> float:
    """Some 200 tokens ride along for nothing while weights are read."""
    return max(0.006, 0.00003 * (num_decodes + num_prompt))


def learned(steps: Iterable[Step], *, is_gpu: bool = False, costs: StepCosts | None = None) -> StepCosts:
    costs = costs or StepCosts()
    for number, (num_decodes, num_prompt) in enumerate(steps):
        batch = Batch(number, num_tokens=num_decodes + num_prompt, num_decode_tokens=num_decodes)
        costs.learn(batch, (gpu_s if is_gpu else cpu_s)(num_decodes, num_prompt))
    return costs


def test_nothing_is_known_at_first() -> None:
    costs = StepCosts()
    assert costs.decodes_s(8) is None
    assert costs.prompt_tokens(0.01) == inf
    assert learned([(8, 0)] * 2).decodes_s(8) is None, "two steps may both have been the first of their kind"


def test_costs_are_straight_between_the_sizes_known() -> None:
    costs = learned([(10, 0), (30, 0), (10, 20), (10, 100)] * 20)
    assert costs.decodes_s(20) == pytest.approx(0.0265, rel=0.02)
    assert costs.prompt_tokens(0.05) == pytest.approx(50, rel=0.05)


def test_outside_of_them_decodes_cost_what_the_nearest_do_and_prompts_grow() -> None:
    costs = learned([(10, 0), (30, 0), (10, 20)] * 20)
    assert costs.decodes_s(1) == costs.decodes_s(10)
    assert costs.decodes_s(60) == costs.decodes_s(30)
    assert costs.prompt_tokens(0.01) == pytest.approx(10, rel=0.1)
    assert costs.prompt_tokens(0.03) == pytest.approx(30, rel=0.1)
    assert costs.prompt_tokens(9.0) == pytest.approx(40, rel=0.1), "no more than twice what is known"


def test_prompts_alone_say_what_they_cost_at_most() -> None:
    costs = learned([(0, 45)] * 3)
    assert costs.prompt_tokens(0.02) == pytest.approx(20)


@pytest.mark.parametrize("num_decodes", [12, 32, 64])
def test_a_load_in_which_no_step_is_without_prompts_teaches_both_costs(num_decodes: int) -> None:
    """Known from a few requests one by one, as before a run. What is 3 times as slow must not look like prompts."""
    idle = [(0, 45), (1, 0), (1, 0)] * 8
    costs = learned([(num_decodes, 20), (num_decodes, 40)] * 10, costs=learned(idle))
    assert costs.decodes_s(num_decodes) == pytest.approx(cpu_s(num_decodes, 0), rel=0.1)
    assert costs.prompt_tokens(0.03) == pytest.approx(30, rel=0.15)


def test_without_prompts_for_long_the_decodes_are_learnt_from_the_steps_with_them() -> None:
    """Contexts grow, so decodes take longer; a step that only decodes has the last word for a while."""
    costs = learned([(0, 100)] * 3 + [(16, 0)] * 5)
    known_s = costs.decodes_s(16)
    assert known_s is not None
    for step in range(200):
        costs.learn(Batch(step, num_tokens=36, num_decode_tokens=16), 3 * known_s + 0.02)
        if step < 64:
            assert costs.decodes_s(16) == known_s
    assert costs.decodes_s(16) == pytest.approx(3 * known_s, rel=0.1)


def test_what_rides_along_for_nothing_is_found_and_what_does_not_is_not_overdone() -> None:
    costs = learned([(0, 2000), (8, 0), (8, 40)] * 5, is_gpu=True)
    for step in range(60):
        num_prompt = int(min(2000, costs.prompt_tokens(0.006)))
        costs = learned([(8, num_prompt), (8, 40)], is_gpu=True, costs=costs)
        assert gpu_s(8, num_prompt) < 0.02, step
    assert gpu_s(8, num_prompt) == pytest.approx(0.012, rel=0.1), "as much as the decodes take"


@pytest.mark.parametrize("stalled", [(16, 0), (16, 30)])
def test_one_stall_holds_nothing_up_for_long(stalled: Step) -> None:
    costs = learned([(0, 30), (16, 0), (16, 30)] * 10)
    tokens, decodes_s = costs.prompt_tokens(0.02), costs.decodes_s(16)
    costs.learn(Batch(30, num_tokens=sum(stalled), num_decode_tokens=16), 5.0)
    assert costs.prompt_tokens(0.02) > tokens / 2
    learned([(16, 0), (16, 30)] * 10, costs=costs)
    assert costs.prompt_tokens(0.02) == pytest.approx(tokens, rel=0.05)
    assert costs.decodes_s(16) == pytest.approx(decodes_s, rel=0.05)


def test_a_size_that_stalled_when_it_was_first_seen_is_not_known_by_that() -> None:
    curve = CostCurve()
    for cost_s in (3.0, 0.1, 0.11):
        curve.learn(100, cost_s)
    assert curve.known() == [(100, 0.1)]


def test_noise_makes_larger_sizes_no_cheaper() -> None:
    random = Random(3)
    curve = CostCurve()
    for _ in range(400):
        size = random.randint(1, 500)
        curve.learn(size, random.uniform(0.5, 1.5) * size)
    costs = [cost_s for _, cost_s in curve.known()]
    assert costs == sorted(costs)
    sizes = [curve.size(cost_s) for cost_s in range(0, 900, 10)]
    assert sizes == sorted(sizes)
