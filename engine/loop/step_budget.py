"""How many tokens of prompts may join the decodes of a step."""

from __future__ import annotations

from math import inf

from .step_costs import StepCosts

_LEAST_TOKENS = 16
"""Prompts advance by so many at least, however long the decodes take."""


class StepBudget:
    """Divides a step's time between its decodes and its prompts: every token that is decoded waits for both.

    By default the prompts of a step may take as long as its decodes. Where more requests have a prompt to compute than
    decode, they may take as many times longer. With both rules nobody's work gets less than an equal share of the
    device.
    """

    def __init__(self, costs: StepCosts, max_step_s: float | None) -> None:
        """`max_step_s`: what a step may take instead; 0 for as long as it takes."""
        self._costs = costs
        self._max_step_s = max_step_s

    def prompt_tokens(self, num_decodes: int, num_prompts: int) -> float:
        """Most tokens of prompts that a step should have; infinite while costs are unknown, or without decodes.

        Args:
            num_decodes: Sequences that decode in it.
            num_prompts: Requests whose prompt is not computed yet.
        """
        decodes_s = self._costs.decodes_s(num_decodes) if num_decodes and self._max_step_s != 0 else None
        if decodes_s is None:
            return inf
        if self._max_step_s is None:
            within_s = decodes_s * max(1.0, num_prompts / num_decodes)
        else:
            within_s = max(0.0, self._max_step_s - decodes_s)
        return max(_LEAST_TOKENS, self._costs.prompt_tokens(within_s))
