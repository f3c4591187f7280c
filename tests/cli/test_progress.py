"""How long a run will take is said as soon as it is known."""

from __future__ import annotations

import pytest
from abatch.cli.commands.progress import time_left_s
from abatch.workloads.run_limits import RunLimits


@pytest.mark.parametrize(
    ("limits", "elapsed_s", "ended", "left_s"),
    [
        (RunLimits(duration_s=60.0), 15.0, 3, 45.0),
        (RunLimits(duration_s=60.0, drain_s=30.0), 70.0, 3, 20.0),
        (RunLimits(duration_s=60.0, drain_s=5.0), 70.0, 3, 0.0),
        (RunLimits(duration_s=None, num_sessions=100), 20.0, 40, 30.0),
        (RunLimits(duration_s=None, num_sessions=100), 20.0, 0, None),
        (RunLimits(duration_s=100.0, num_sessions=100), 20.0, 80, 5.0),
        (RunLimits(duration_s=None, num_requests=100), 20.0, 0, 30.0),
    ],
)
def test_time_left(limits: RunLimits, elapsed_s: float, ended: int, left_s: float | None) -> None:
    assert time_left_s(limits, elapsed_s, ended, requests_ended=40) == left_s
