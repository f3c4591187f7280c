"""What is read from a step log under load: steps that only decode, and what requests spend outside of steps."""

from __future__ import annotations

from typing import Any

import pytest
from abatch.cli.measuring.served_steps import request_s, served_steps
from abatch.engine.loop.step_log import StepRecord
from abatch.engine.simulation.step_work import StepWork
from abatch.workloads.result import Result


def _step(planned_s: float, num_seqs: int, **fields: Any) -> StepRecord:
    """A step of 10 ms that the device began 1 ms after it was planned."""
    times = {
        "planned_s": planned_s,
        "launched_s": planned_s + 0.001,
        "device_start_s": planned_s + 0.001,
        "device_end_s": planned_s + 0.011,
        "collected_s": planned_s + 0.011,
        "committed_s": planned_s + 0.013,
    }
    counts = {
        "step": 1,
        "num_decode_tokens": num_seqs,
        "num_prefill_tokens": 0,
        "num_seqs": num_seqs,
        "num_waiting": 0,
        "num_preempted": 0,
        "num_blocks_held": 5 * num_seqs + 2,
        "num_blocks_pinned": 2,
        "gap_s": 0.004,
    }
    return StepRecord(**{**times, **counts, **fields})


@pytest.mark.parametrize(("is_synchronous", "host_s"), [(True, 0.004), (False, 0.003)])
def test_steps_behind_others_of_as_many_sequences(is_synchronous: bool, host_s: float) -> None:
    records = [
        _step(0.5, 2),
        _step(1.0, 2),
        _step(1.1, 2),
        _step(1.2, 3),
        _step(1.3, 3, num_prefill_tokens=1),
        _step(1.4, 3),
    ]
    found = served_steps(records, 0.9, 16, is_synchronous=is_synchronous)
    assert [step.num_seqs for step in found] == [2, 2, 3]
    context = 2 * 5 * 16 - 2 * 15 / 2
    assert found[0].work == StepWork(2, 2, context, context)
    assert found[0].device_s == pytest.approx(0.010)
    assert found[0].host_s == pytest.approx(host_s)


def _result(due_s: float, first_s: float, end_s: float) -> Result:
    return Result(session_id="s", turn_index=0, traffic_class="chat", due_s=due_s, first_s=first_s, end_s=end_s)


def test_what_a_request_spends_outside_of_steps() -> None:
    origin_s = 100.0
    # It reaches the engine after 3 ms, is prefilled in two steps until 0.031, and its token is seen after 2 ms more.
    records = [
        _step(origin_s + 1.003, 1, num_prefill_tokens=64),
        _step(origin_s + 1.020, 1, num_prefill_tokens=20),
        _step(origin_s + 1.040, 1),
        _step(origin_s + 2.0, 1),
        _step(origin_s + 2.012, 2, num_prefill_tokens=64),
    ]
    alone = _result(1.0, 1.033, 1.1)
    in_a_step = _result(2.005, 2.5, 2.6)
    beside = [_result(3.0, 3.1, 3.4), _result(3.3, 3.4, 3.5)]
    assert request_s(records, [alone, in_a_step, *beside], origin_s) == pytest.approx(0.005)
    assert request_s(records, beside, origin_s) == 0.0
