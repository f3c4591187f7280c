"""When a run will end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ...reports.summary.cache import CacheMode
from ...reports.text import clean
from ..measuring.idle_probe import time_limit_s
from ..measuring.plan import Plan
from ..measuring.priming import MOST_S as MOST_PRIMING_S
from ..measuring.targets import OwnServer
from .forecast import Forecast

_TOGETHER_S = 90.0
"""Two ends that are no farther apart are told as one: a person looks at the clock, not at its seconds."""


@dataclass(frozen=True, slots=True)
class Length:
    """How long something takes: at least, and at most; None where nobody knows. `is_virtual`: in virtual time."""

    least_s: float
    most_s: float | None
    is_virtual: bool = False
    loads: str = ""
    """What is loaded besides, which takes as long as it takes."""

    def times(self, number: int) -> Length:
        """Of so many, one after the other."""
        most_s = None if self.most_s is None else number * self.most_s
        return Length(number * self.least_s, most_s, self.is_virtual, self.loads)

    def __add__(self, other: Length) -> Length:
        """One after the other."""
        is_known = self.most_s is not None and other.most_s is not None
        most_s = (self.most_s or 0.0) + (other.most_s or 0.0) if is_known else None
        loads = self.loads or other.loads
        return Length(self.least_s + other.least_s, most_s, self.is_virtual and other.is_virtual, loads)

    def latest(self, now: datetime) -> str:
        """When it has ended at the latest."""
        return clock_time(self.most_s or self.least_s, now)

    def loaded(self) -> Length:
        """The same once all is loaded."""
        return replace(self, loads="")

    def end(self, now: datetime) -> str:
        """When that is over, if it begins now: `ends about 14:32`."""
        if self.is_virtual:
            return "in virtual time"
        least, loading = clock_time(self.least_s, now), f", after {clean(self.loads)} has loaded" if self.loads else ""
        if self.most_s is None:
            return "ends with the last session" + ("" if self.least_s < _TOGETHER_S else f", not before {least}")
        most = clock_time(self.most_s, now)
        if self.most_s - self.least_s <= _TOGETHER_S or least == most:
            return f"ends about {clock_time((self.least_s + self.most_s) / 2, now)}{loading}"
        return f"ends between {least} and {most}{loading}"


def length_of(forecast: Forecast, plan: Plan) -> Length:
    """How long a run takes with what comes before it (the idle probe, priming) and after it (draining)."""
    source, limits = plan.source, plan.traffic.limits
    loads = source.config.model if isinstance(source, OwnServer) else ""
    before_s = 0.0
    if plan.idle_probe and not source.is_virtual:
        before_s += time_limit_s(limits.duration_s)
    if plan.traffic.recipe.cache is CacheMode.WARM:
        before_s += MOST_PRIMING_S
    if limits.duration_s is not None:
        is_all = limits.most_sessions is not None or forecast.traffic.trace is not None  # all may have ended before
        least_s = 0.0 if is_all else limits.duration_s
        return Length(least_s, before_s + limits.duration_s + limits.drain_s, source.is_virtual, loads)
    if forecast.is_timed and forecast.is_whole:
        return Length(forecast.end_s, before_s + forecast.end_s, source.is_virtual, loads)
    return Length(forecast.least_s, None, source.is_virtual, loads)


def clock_time(after_s: float, now: datetime) -> str:
    """The time of day then; of another day, with that."""
    then = now + timedelta(seconds=after_s)
    if then.date() == now.date():
        return f"{then:%H:%M}"
    return f"{then:%a %H:%M}" if (then.date() - now.date()).days < 7 else f"{then:%b %d %H:%M}"


def lasting(seconds: float) -> str:
    """A length of time as a person says it: `4.5 s`, `90 s`, `47 min`, `2 h 15 min`."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes, rest_s = divmod(round(seconds), 60)
    hours, rest = divmod(minutes + (rest_s >= 30 and minutes >= 10), 60)
    if hours:
        return f"{hours} h" + (f" {rest} min" if rest else "")
    return f"{rest} min" + (f" {rest_s} s" if rest_s and minutes < 10 else "")
