"""What serving adds to steps that were measured alone: time between them, and how much they vary."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from .device_profile import HostOverhead
from .least_squares import non_negative_least_squares
from .measured_steps import MeasuredSteps, quantile
from .step_work import StepWork

_NUM_QUANTILES = 101
_LEAST_ALIKE = 5
"""Steps of as many sequences, for a median that says something."""


class ServedStep(NamedTuple):
    """A step of served traffic behind another one.

    Attributes:
        num_seqs: Sequences in it.
        work: What it computed.
        device_s: What the device took for it.
        host_s: What the host took for it, beside the device or between two steps.
    """

    num_seqs: int
    work: StepWork
    device_s: float
    host_s: float


def fit_host(steps: MeasuredSteps, served: Sequence[ServedStep], request_s: float) -> HostOverhead:
    """The host's time per step and per sequence.

    Where launching is the work itself, that is all that served steps take, with the time between them, beyond the steps
    that were measured alone: the same cores also run the server, and perhaps its client. Elsewhere it is the time that
    the host says it took.

    Args:
        steps: Measured alone.
        served: Of which no number of sequences counts more than another, however many steps have it.
        request_s: See `HostOverhead`.
    """
    beyond_s: list[tuple[int, float, float]] = []
    groups = [list(group) for _, group in groupby(sorted(served, key=_num_seqs), key=_num_seqs)]
    for same in [group for group in groups if len(group) >= _LEAST_ALIKE] or groups:
        extra_s = statistics.median(
            step.device_s + step.host_s - steps.seconds(step.work) if steps.is_synchronous else step.host_s
            for step in same
        )
        beyond_s.append((same[0].num_seqs, extra_s, statistics.median(step.device_s + step.host_s for step in same)))
    if not beyond_s:
        return HostOverhead(request_s=request_s)
    rows = [[1 / whole_s, count / whole_s] for count, _, whole_s in beyond_s]
    step_s, sequence_s = non_negative_least_squares(rows, [extra_s / whole_s for _, extra_s, whole_s in beyond_s])
    return HostOverhead(step_s, sequence_s, request_s)


def _num_seqs(step: ServedStep) -> int:
    return step.num_seqs


def spread_of(steps: MeasuredSteps, host: HostOverhead, served: Sequence[ServedStep]) -> list[float]:
    """Served steps over their usual time, as evenly spaced quantiles; empty without any."""
    ratios = sorted(_ratio(steps, host, step) for step in served)
    return [quantile(ratios, index / (_NUM_QUANTILES - 1)) for index in range(_NUM_QUANTILES)] if ratios else []


def _ratio(steps: MeasuredSteps, host: HostOverhead, step: ServedStep) -> float:
    usual_s = steps.seconds(step.work)
    took_s = step.device_s + step.host_s - host.of(step.num_seqs) if steps.is_synchronous else step.device_s
    return max(took_s / usual_s, 0.01)
