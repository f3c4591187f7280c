"""What several runs will do together: the rounds of a comparison, the tries of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from ...reports.formatting import counted
from ..measuring.plan import Plan
from ..measuring.rate_search import highest_rate
from ..measuring.sweep import LONGER, PRECISION
from .clock import Length, lasting, length_of
from .forecast import Forecast
from .words import run_in_words


def rounds_in_words(forecast: Forecast, plans: Mapping[str, Plan], num_rounds: int, now: datetime) -> list[str]:
    """How long all rounds of a comparison take, and what each run sends.

    Args:
        forecast: Of the first round; the others have other draws of the same traffic.
        plans: By target.
        num_rounds: Of which each has a run of every target.
        now: When it begins.
    """
    lengths = [length_of(forecast, plan) for plan in plans.values()]
    once = sum(lengths[1:], lengths[0])
    total = once.times(num_rounds)
    num_runs = num_rounds * len(plans)
    first = f"{counted(num_rounds, 'round')} of {len(plans)} targets, {counted(num_runs, 'run')}: {in_all(total)}"
    plan = next(iter(plans.values()))
    return [first, *run_in_words(forecast, plan, total.end(now), num_rounds=num_rounds)]


def sweep_in_words(first_rate: float, max_rate: float, plan: Plan, now: datetime, *, is_exact: bool) -> str:
    """What a sweep tries at most, and how long that takes.

    Args:
        first_rate: That it begins with, in requests per second.
        max_rate: That it ends at.
        plan: Of one try.
        now: When it begins.
        is_exact: A rate that failed is not tried again.
    """
    rates: set[float] = set()

    def holds(rate: float) -> bool:
        rates.add(rate)
        return rate < max_rate

    highest_rate(holds, first_rate=first_rate, max_rate=max_rate, precision=PRECISION, tries=1)
    limits = plan.traffic.limits
    many = f"at most {counted(len(rates), 'rate')}"
    if limits.duration_s is None:
        return f"{many} from {min(rates):g} to {max_rate:g} requests/s, each tried once or twice"
    again_s = limits.warmup_s + LONGER * (limits.duration_s - limits.warmup_s)
    most = Length(limits.duration_s, limits.duration_s + again_s + 2 * limits.drain_s, plan.source.is_virtual)
    total = most.times(len(rates))
    assert total.most_s is not None
    when = "of virtual time" if plan.source.is_virtual else f"(until {total.latest(now)})"
    again = "" if is_exact else " once or twice"
    return (
        f"{many} from {min(rates):g} to {max_rate:g} requests/s, each for {lasting(limits.duration_s)}{again}: at most "
        f"{lasting(total.most_s)} {when}; most sweeps end sooner"
    )


def in_all(length: Length) -> str:
    """How long it takes."""
    if length.is_virtual:
        return f"{lasting(length.least_s)} of virtual time" if length.most_s is not None else "in virtual time"
    if length.most_s is None:
        return "as long as the server takes" + (f", at least {lasting(length.least_s)}" if length.least_s else "")
    loading = ", and the time to load" if length.loads else ""
    least, most = lasting(length.least_s), lasting(length.most_s)
    return f"about {least}, at most {most} in all{loading}" if least != most else f"{least} in all{loading}"
