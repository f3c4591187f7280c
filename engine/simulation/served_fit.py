"""What serving adds to steps that were measured alone: time between them, and how much they vary."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from msgspec.structs import replace

from .device_profile import HostOverhead
from .least_squares import non_negative_least_squares
from .measured_steps import MeasuredSteps, quantile
from .step_work import StepWork

_NUM_QUANTILES = 101
_LEAST_ALIKE = 5
"""Steps of as many sequences, for a median that says something."""
_LEAST_COUNTS = 3
"""Numbers of sequences. A line through two of them may end anywhere."""


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
    that were measured alone: the same cores also run the server, and perhaps its client. Elsewhere, and where too few
    numbers of sequences were served to tell what grows with them, it is the time that the host says it took.

    Args:
        steps: Measured alone.
        served: Of which no number of sequences counts more than another, however many steps have it.
        request_s: See `HostOverhead`.
    """
    beyond_s: list[tuple[int, float, float]] = []
    groups = [list(group) for _, group in groupby(sorted(served, key=_num_seqs), key=_num_seqs)]
    groups = [group for group in groups if len(group) >= _LEAST_ALIKE] or groups
    counts_all = steps.is_synchronous and len(groups) >= _LEAST_COUNTS
    for same in groups:
        extra_s = statistics.median(
            step.device_s + step.host_s - steps.seconds(step.work) if counts_all else step.host_s for step in same
        )
        beyond_s.append((same[0].num_seqs, extra_s, statistics.median(step.device_s + step.host_s for step in same)))
    if not beyond_s:
        return HostOverhead(request_s=request_s)
    rows = [[1 / whole_s, count / whole_s] for count, _, whole_s in beyond_s]
    step_s, sequence_s = non_negative_least_squares(rows, [extra_s / whole_s for _, extra_s, whole_s in beyond_s])
    return HostOverhead(step_s, sequence_s, request_s)


def _num_seqs(step: ServedStep) -> int:
    return step.num_seqs


def as_served(steps: MeasuredSteps, host: HostOverhead, served: Sequence[ServedStep]) -> MeasuredSteps:
    """The steps at the pace that they had when served, with their spread; as they are without any served."""
    if not served:
        return steps
    took_s = [max(_device_s(steps, host, step), 1e-6) for step in served]
    alone_s = [steps.seconds(step.work) for step in served]
    pace = statistics.median(one / other for one, other in zip(took_s, alone_s, strict=True))
    beyond = sorted((one - pace * other) / (pace * other) ** 0.5 for one, other in zip(took_s, alone_s, strict=True))
    return replace(
        steps,
        token_s=[(count, pace * seconds) for count, seconds in steps.token_s],
        sample_s=[(count, pace * seconds) for count, seconds in steps.sample_s],
        context_token_s=pace * steps.context_token_s,
        pair_s=pace * steps.pair_s,
        spread=[quantile(beyond, index / (_NUM_QUANTILES - 1)) for index in range(_NUM_QUANTILES)],
    )


def _device_s(steps: MeasuredSteps, host: HostOverhead, step: ServedStep) -> float:
    if not steps.is_synchronous:
        return step.device_s
    return step.device_s + step.host_s - host.of(step.num_seqs)
