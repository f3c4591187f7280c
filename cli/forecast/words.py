"""What a run will do, in one or two lines before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...engine.integers import ceil_div
from ...reports.formatting import counted, rounded_up
from ...reports.summary.state import samples_to_judge
from ...reports.text import clean
from ...workloads.workload import ALL
from ..measuring.plan import Plan
from ..measuring.targets import OwnServer, SimulatedEngine
from .clock import lasting
from .forecast import Forecast

_JUDGED = 99.0
"""The percentile that every verdict is about."""
_LEAST_SHOWN = 90.0
"""A median takes a dozen requests: no one asks whether there are enough."""
_NEARLY_ALL = 0.9


def is_simulated(plan: Plan) -> bool:
    """Whether a simulated device is measured, so that nothing is random. A server at a URL is not asked yet."""
    source = plan.source
    return isinstance(source, SimulatedEngine) or (isinstance(source, OwnServer) and source.config.is_simulated)


def run_in_words(forecast: Forecast, plan: Plan, end: str, num_rounds: int = 1) -> list[str]:
    """What is sent, what that is enough for, and when it ends; and how long would be enough, if it is not.

    Args:
        forecast: Of the run.
        plan: Its plan.
        end: When it ends, in words.
        num_rounds: Runs of the same kind that are judged together.
    """
    is_exact = is_simulated(plan)
    needed = samples_to_judge(_JUDGED / 100, is_exact=is_exact)
    if not forecast.is_counted:
        takes = f"p{_JUDGED:g} takes {needed}"
        of_class = "" if forecast.verdict_class == ALL else f" of class {clean(forecast.verdict_class)}"
        how_many = f"how many requests that comes to depends on the server ({takes}{of_class})"
        return [f"{_rates(forecast)}: {how_many}; {end}"]
    judged = forecast.samples["ttft", forecast.verdict_class]
    enough = _Enough.of(num_rounds * judged, plan.percentiles, is_exact=is_exact)
    first = f"{'each run ' if num_rounds > 1 else ''}{_requests(forecast, judged)}: {enough}"
    if num_rounds > 1:
        first += " in all rounds"
    if enough.is_enough and not is_exact:
        first += " unless requests queue"
    lines = [f"{first}; {end}"]
    if not enough.is_enough and num_rounds > 1 and judged:
        lines.append(f"--rounds {ceil_div(needed, judged)} would be enough for p{_JUDGED:g}")
    elif not enough.is_enough and (advice := _advice(forecast, needed)):
        lines.append(advice)
    return lines


def _rates(forecast: Forecast) -> str:
    """The pace of a run of which not all requests are known."""
    several = len(forecast.traffic.workload.streams) > 1
    parts = [", ".join(f"{live} {clean(name)}" if several else f"{live}" for name, live in forecast.live.items())]
    parts[0] += " sessions at a time"
    if forecast.request_rate:
        parts.append(_rate(forecast))
    limits = forecast.limits
    if limits.duration_s is not None:
        parts.append(f"for {lasting(limits.duration_s)}")
    if limits.num_requests is not None:
        parts.append(f"{counted(limits.num_requests, 'request')} at most")
    elif limits.num_sessions is not None:
        parts.append(f"{counted(limits.num_sessions, 'session')} at most")
    elif forecast.drawn and forecast.traffic.trace is not None:
        parts.append(
            f"{counted(forecast.num_sessions, 'session')} and {_number(forecast, forecast.num_requests)} at most"
        )
    return ", ".join(parts)


def _requests(forecast: Forecast, judged: int) -> str:
    limits, num_requests = forecast.limits, forecast.num_requests
    parts = [_number(forecast, num_requests)]
    if forecast.request_rate:
        parts.insert(0, _rate(forecast))
    has_sessions = forecast.request_rate == 0 or limits.num_sessions is not None or forecast.traffic.trace is not None
    if has_sessions and limits.num_requests is None:
        parts[-1] = f"{_sessions(forecast)} with {parts[-1]}"
    if forecast.live:
        parts[-1] += f", {sum(forecast.live.values())} at a time"
    elif limits.duration_s is not None or forecast.traffic.trace is not None:
        parts[-1] += f" in {lasting(forecast.end_s)}"
    counts = forecast.samples["ttft", ALL]
    if counts < 0.995 * num_requests:
        parts.append(f"{counts:,} after the warm-up")
    if forecast.verdict_class != ALL and judged < _NEARLY_ALL * counts:
        parts.append(f"{judged:,} of class {clean(forecast.verdict_class)}")
    return ", ".join(parts)


def _sessions(forecast: Forecast) -> str:
    """How many there are; of a trace, that it is all of it, or which part."""
    trace, number = forecast.traffic.trace, forecast.num_sessions
    if trace is None:
        return counted(number, "session")
    name = clean(trace.path.name)
    if forecast.limits.is_endless:
        return f"all of {name}: {'more than ' if not forecast.is_whole else ''}{counted(number, 'session')}"
    if forecast.num_unsent_sessions:
        return f"{name}: {number:,} of its {counted(number + forecast.num_unsent_sessions, 'session')}"
    return f"{name}: {counted(number, 'session')}"


def _rate(forecast: Forecast) -> str:
    """`41 requests/s (20 sessions/s)`."""
    rate = _per_second(forecast.request_rate, "request")
    if forecast.is_rising:
        rate = f"up to {rate}"
    is_same = abs(forecast.request_rate - forecast.session_rate) < 1e-9
    return rate if is_same else f"{rate} ({_per_second(forecast.session_rate, 'session')})"


def _per_second(rate: float, noun: str) -> str:
    return f"{rate:.3g} {noun}{'' if rate == 1 else 's'}/s"


def _number(forecast: Forecast, number: int) -> str:
    if not forecast.is_whole:
        return f"more than {counted(number, 'request')}"
    is_exact = forecast.limits.duration_s is None
    return counted(number, "request") if is_exact else f"about {counted(number, 'request')}"


@dataclass(frozen=True, slots=True)
class _Enough:
    """Which percentiles so many samples can carry. The verdict comes from the same function (see `tail_state`)."""

    highest: float | None
    next: float | None

    @classmethod
    def of(cls, samples: int, percentiles: Sequence[float], *, is_exact: bool) -> _Enough:
        wanted = sorted({_JUDGED, *(one for one in percentiles if one >= _LEAST_SHOWN)})
        carried = [one for one in wanted if samples >= samples_to_judge(one / 100, is_exact=is_exact)]
        return cls(max(carried, default=None), next((one for one in wanted if one not in carried), None))

    @property
    def is_enough(self) -> bool:
        """For the percentile of the verdict."""
        return self.highest is not None and self.highest >= _JUDGED

    def __str__(self) -> str:
        if self.is_enough:
            return f"enough for p{self.highest:g}" + ("" if self.next is None else f" (not p{self.next:g})")
        return f"too few for p{_JUDGED:g}" + ("" if self.highest is None else f" (enough for p{self.highest:g})")


def _advice(forecast: Forecast, needed: int) -> str | None:
    """How long would be enough."""
    if (duration_s := forecast.duration_for(needed)) is not None:
        return f"-d {duration_s:g} would be enough for p{_JUDGED:g}"
    judged = forecast.samples["ttft", forecast.verdict_class]
    if forecast.num_unsent_requests:
        total = forecast.num_requests + forecast.num_unsent_requests
        return f"the whole trace, without -d, has {counted(total, 'request')}"
    limits = forecast.limits
    if not judged or limits.duration_s is not None or forecast.traffic.trace is not None:
        return None
    if limits.num_requests is not None:
        requests = rounded_up(limits.num_requests * needed / judged)
        return f"--num-requests {requests} would be enough for p{_JUDGED:g}"
    if limits.num_sessions is not None:
        sessions = rounded_up(limits.num_sessions * needed / judged)
        return f"--num-sessions {sessions} would be enough for p{_JUDGED:g}"
    return None
