"""The exact cause of a gap, where the server is our own engine with a step log: what its step did."""

from __future__ import annotations

import statistics
from bisect import bisect_right
from collections.abc import Iterable

from ...engine.loop.step_log import StepRecord
from ..summary.causes import Cause
from .tail_events import TailEvent

_DELIVERY_S = 0.003
"""From the commit of a token to its arrival at a client on the same machine, at most."""
_ROUNDING_S = 5e-5
_MOST = 0.5


class StepIndex:
    """The steps of a run by when their tokens were committed. Times are seconds since the run began."""

    def __init__(self, steps: Iterable[StepRecord], origin_s: float) -> None:
        self._steps = list(steps)
        self._origin_s = origin_s
        self._committed_s = [step.committed_s - origin_s for step in self._steps]
        decodes = [step.device_end_s - step.device_start_s for step in self._steps if step.num_prefill_tokens == 0]
        self._decode_s = statistics.median(decodes) if decodes else 0.0

    def knows(self, event: TailEvent) -> bool:
        """Whether the log reaches as far as the event."""
        return bool(self._steps) and self._committed_s[0] <= event.start_s and event.end_s <= self._committed_s[-1]

    def cause_of_gap(self, event: TailEvent) -> Cause:
        """What the engine did while a stream got nothing."""
        first = bisect_right(self._committed_s, event.start_s + _ROUNDING_S)
        last = bisect_right(self._committed_s, event.end_s + _ROUNDING_S)
        steps = self._steps[first:last]
        # The stream got its token of the step before `first` late, by what delivery takes; likewise at the end.
        if len(steps) > 2 and self._committed_s[last - 1] - self._committed_s[first] > _DELIVERY_S:
            # Steps went by without it. A control's own stream was among them.
            return Cause.UNKNOWN if event.is_control else Cause.PREEMPTION
        if not steps:
            return Cause.UNKNOWN
        prefill_s = sum(self._prefill_s(step) for step in steps)
        if prefill_s >= _MOST * (event.length_s - self._decode_s):
            return Cause.PREFILL
        return Cause.STALL

    def _prefill_s(self, step: StepRecord) -> float:
        """What a step took longer because of the prompts in it."""
        if step.num_prefill_tokens == 0:
            return 0.0
        return max(0.0, step.device_end_s - step.device_start_s - self._decode_s)
