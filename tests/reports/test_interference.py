"""What other requests' prompts cost a stream, measured on gaps of known truth."""

from __future__ import annotations

from random import Random

import pytest
from abatch.reports.attribution.interference import prompt_cost_s
from abatch.reports.attribution.tail_events import TailEvent

_RATE = 20.0
"""First tokens per second, at random moments."""


def _gaps(count: int, cost_s: float, spread: float) -> list[TailEvent]:
    """Log-normal gaps around 20 ms, each longer by `cost_s` for every first token within it."""
    random, found = Random("gaps"), []
    for number in range(count):
        length_s = 0.02 * random.lognormvariate(0, spread)
        num_within, next_s = 0, random.expovariate(_RATE)
        while next_s < length_s:
            num_within, next_s = num_within + 1, next_s + random.expovariate(_RATE)
        gap = TailEvent(("", number), 0.0, length_s + num_within * cost_s, is_gap=True)
        gap.around.num_within = num_within
        found.append(gap)
    return found


def test_a_prompt_costs_what_it_makes_gaps_longer_by() -> None:
    assert prompt_cost_s(_gaps(400, 0.008, 0.1)) == pytest.approx(0.008, rel=0.15)


def test_gaps_that_are_long_by_themselves_are_not_the_prompts() -> None:
    """Every other gap with a first token in it is twice as long as others, because long gaps have more room."""
    gaps = _gaps(2000, 0.0, 0.9)
    with_one = sorted(gap.length_s for gap in gaps if gap.around.num_within == 1)
    without = sorted(gap.length_s for gap in gaps if gap.around.num_within == 0)
    assert with_one[len(with_one) // 2] > 1.7 * without[len(without) // 2]
    cost_s = prompt_cost_s(gaps)
    assert cost_s is not None
    assert cost_s < 0.003


def test_a_few_gaps_say_nothing() -> None:
    assert prompt_cost_s(_gaps(15, 0.05, 0.1)) is None
    assert prompt_cost_s([]) is None
