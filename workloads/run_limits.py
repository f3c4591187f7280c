"""How long a run lasts."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..engine.errors import ConfigurationError

_WARMUP_S, _WARMUP_SHARE = 5.0, 0.1


def default_warmup_s(duration_s: float) -> float:
    """The part of a run of this length that does not count, unless another is asked for."""
    return min(_WARMUP_S, _WARMUP_SHARE * duration_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLimits:
    """When a run begins to count, stops sending, and ends.

    Attributes:
        duration_s: Turns due later are not sent. Includes the warm-up. None: until all sessions have ended, or all
            requests.
        num_sessions: Sessions to start, over all streams. None: no limit but that of a trace, which comes to its end.
        num_requests: Requests to send, over all streams. None: no limit. Sessions end where they are.
        warmup_s: Turns due before this are sent and recorded but do not count.
        drain_s: How long turns that were due by the end may take before they are cut off as lower bounds.
        max_in_flight: Concurrent requests at most. Waiting for a place counts as latency.
    """

    duration_s: float | None = 60.0
    num_sessions: int | None = None
    num_requests: int | None = None
    warmup_s: float = 0.0
    drain_s: float = 30.0
    max_in_flight: int | None = None

    @property
    def most_sessions(self) -> int | None:
        """More cannot start: each sends a request at least. None: no limit."""
        limits = [limit for limit in (self.num_sessions, self.num_requests) if limit is not None]
        return min(limits, default=None)

    @property
    def is_endless(self) -> bool:
        """Only traffic that comes to its end ends the run."""
        return self.duration_s is None and self.most_sessions is None

    def __post_init__(self) -> None:
        ends = {
            "--duration": self.duration_s,
            "--num-sessions": self.num_sessions,
            "--num-requests": self.num_requests,
        }
        for name, value in ends.items():
            if value is not None and not 0 < value < math.inf:
                raise ConfigurationError(f"{name} must be above 0, not {value:g}")
        if not (0 <= self.warmup_s < math.inf and 0 <= self.drain_s < math.inf):
            raise ConfigurationError("--warmup and --drain must be finite and not negative")
        if self.duration_s is not None and self.warmup_s >= self.duration_s:
            raise ConfigurationError(
                f"--warmup {self.warmup_s:g} leaves nothing of --duration {self.duration_s:g} to measure"
            )
        if self.max_in_flight is not None and self.max_in_flight < 1:
            raise ConfigurationError(f"--max-in-flight must be at least 1, not {self.max_in_flight}")
