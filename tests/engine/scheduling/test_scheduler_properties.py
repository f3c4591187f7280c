"""What must hold whatever arrives, is cancelled or runs out: no page leaks, everyone ends, nobody starves."""

from __future__ import annotations

from collections import Counter

import pytest
from abatch.engine.request import FinishReason
from abatch.engine.scheduling.limits import BATCHING_MODES, Batching
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from support.scheduler_machine import SchedulerMachine


@pytest.mark.hypothesis
@pytest.mark.parametrize("batching", BATCHING_MODES)
def test_scheduler(batching: Batching) -> None:
    seen: Counter[str] = Counter()
    machine = type("Machine", (SchedulerMachine,), {"batching": batching, "seen": seen})
    run_state_machine_as_test(machine, settings=settings(stateful_step_count=30))
    ends = (FinishReason.STOP, FinishReason.LENGTH, FinishReason.CANCELLED)
    events = ("preemptions", "cached tokens", "bounded steps", *ends)
    assert all(seen[event] > 2 for event in events), seen
