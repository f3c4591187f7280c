"""How long an open loop's load rises: until as many sessions end as begin.

A session that begins now sends its later turns later. Until sessions have lasted as long as they do, every second adds
turns to the load, and a server whose requests in flight grow then is not overloaded.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, islice

from ...reports.recording.goodput import Objective
from ...reports.traffic.schedule import due_turns
from ...workloads.session import Turn
from ...workloads.workload import OpenLoop, Workload

_SESSIONS = 200
"""That are looked at, of each stream."""
_FULL_SHARE = 0.95
_TTFT_S, _TPOT_S = 0.5, 0.03
"""What answers take where the objectives allow for no less. The pauses of a session are longer."""


@dataclass(frozen=True, slots=True)
class Ramp:
    """When turns are due after their session began: `at_s`, ascending; the first n weigh `weights[n - 1]` of all."""

    at_s: Sequence[float]
    weights: Sequence[float]

    @property
    def length_s(self) -> float:
        """From then on at least 95% of the load is there."""
        return next((at_s for at_s, share in zip(self.at_s, self.weights, strict=True) if share >= _FULL_SHARE), 0.0)

    def share_at(self, time_s: float) -> float:
        """The part of the load that is there at this time of a run."""
        found = bisect_right(self.at_s, time_s)
        return self.weights[found - 1] if found else 0.0

    def growth(self, from_s: float, to_s: float) -> float:
        """By which factor the load is larger in the second half of a part of a run than in the first."""
        steps = [from_s + (to_s - from_s) * (step + 0.5) / 20 for step in range(20)]
        shares = [self.share_at(step) for step in steps]
        return max(sum(shares[10:]) / sum(shares[:10]), 1.0) if sum(shares[:10]) else 1.0


def ramp_of(workload: Workload, seed: int, objectives: Sequence[Objective] = ()) -> Ramp:
    """The ramp of a workload's open loops, whose answers meet the objectives."""
    weighted: list[tuple[float, float]] = []
    for stream in workload.streams:
        if isinstance(stream.pacing, OpenLoop):
            for session in islice(stream.sessions(seed), _SESSIONS):
                turns = due_turns(session, lambda turn: _answer_s(turn, objectives))
                weighted += [(one.due_s, stream.pacing.rate) for one in turns]
    weighted.sort()
    total = sum(weight for _, weight in weighted)
    return Ramp(
        [at_s for at_s, _ in weighted], [sum_so_far / total for sum_so_far in accumulate(w for _, w in weighted)]
    )


def _answer_s(turn: Turn, objectives: Sequence[Objective]) -> float:
    """What a turn's answer is taken to last."""
    limits_s = {objective.metric: objective.limit_ms / 1e3 for objective in objectives}
    ttft_s, tpot_s = min(limits_s.get("ttft", _TTFT_S), _TTFT_S), min(limits_s.get("tpot", _TPOT_S), _TPOT_S)
    return min(ttft_s + tpot_s * turn.output_tokens, limits_s.get("e2e", math.inf))
