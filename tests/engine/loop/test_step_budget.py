"""How a step's time is divided: what the decodes take, as much again for prompts, more where more prompts wait."""

from __future__ import annotations

from math import inf

import pytest
from abatch.engine.loop.step_budget import StepBudget
from abatch.engine.loop.step_costs import StepCosts
from abatch.engine.request import Batch


@pytest.fixture
def costs() -> StepCosts:
    """A decode takes 1 ms, whatever their number; a token of a prompt takes 0.1 ms."""
    costs = StepCosts()
    for num_tokens in (10, 2000):
        for _ in range(4):
            costs.learn(Batch(num_tokens=8, num_decode_tokens=8), 0.010)
            costs.learn(Batch(num_tokens=8 + num_tokens, num_decode_tokens=8), 0.010 + num_tokens / 1e4)
    return costs


@pytest.mark.parametrize(
    ("max_step_s", "num_decodes", "num_prompts", "tokens"),
    [
        (None, 8, 1, 100),
        (None, 8, 8, 100),
        (None, 8, 24, 300),
        (None, 0, 24, inf),
        (0.025, 8, 1, 150),
        (0.025, 8, 24, 150),
        (0.005, 8, 24, 16),
        (0.025, 0, 1, inf),
        (0.0, 8, 24, inf),
    ],
)
def test_tokens_of_prompts(
    costs: StepCosts, max_step_s: float | None, num_decodes: int, num_prompts: int, tokens: float
) -> None:
    assert StepBudget(costs, max_step_s).prompt_tokens(num_decodes, num_prompts) == pytest.approx(tokens)


@pytest.mark.parametrize("max_step_s", [None, 0.0, 0.02])
def test_tokens_alone_count_while_costs_are_unknown(max_step_s: float | None) -> None:
    assert StepBudget(StepCosts(), max_step_s).prompt_tokens(8, 3) == inf
