"""Goodput: how many requests meet all of a set of latency objectives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import msgspec

from ...engine.errors import ConfigurationError
from ...engine.timing.durations import parse_duration
from ...workloads.bounds import Amount
from ...workloads.result import Result


def _max_gap_ms(result: Result) -> float | None:
    gaps_us = result.gaps_us
    return max(gaps_us) / 1e3 if gaps_us else None


def _tpot_ms(result: Result) -> float | None:
    tpot_us = result.tpot_us
    return None if tpot_us is None else tpot_us / 1e3


_LATENCIES: dict[str, Callable[[Result], float | None]] = {
    "ttft": lambda result: result.ttft_us / 1e3,
    "ttfa": lambda result: inf if result.is_unanswered else result.ttfa_us / 1e3,
    "tpot": _tpot_ms,
    "max_gap": _max_gap_ms,
    "e2e": lambda result: result.e2e_us / 1e3,
}
"""Of a request that succeeded; None where it has none: an answer of one token has no gaps."""
OF_GAPS = ("tpot", "max_gap")


@dataclass(frozen=True, slots=True)
class Objective:
    """A metric of each request and what it may be at most."""

    metric: str
    limit_ms: float


class GoodputSummary(msgspec.Struct, kw_only=True):
    """How much of the traffic met all objectives.

    Attributes:
        objectives: Milliseconds by metric.
        share: Of the requests that were due; those that failed or never ended met none. `by_class` likewise.
        rate: Requests per second that met them.
        independent: How many independent requests those of the run are worth: what misses together is one event.
    """

    objectives: dict[str, Amount]
    share: Amount
    rate: Amount
    by_class: dict[str, Amount]
    independent: Amount | None = None


def goodput_of(
    objectives: tuple[Objective, ...], due: Counter[str], good: Counter[str], measured_s: float, independent: float
) -> GoodputSummary:
    """What so many requests by class come to: those that were due, and those of them that met all objectives."""
    return GoodputSummary(
        objectives={objective.metric: objective.limit_ms for objective in objectives},
        share=round(good.total() / due.total(), 6),
        rate=round(good.total() / measured_s, 4) if measured_s > 0 else 0.0,
        by_class={name: round(good[name] / due[name], 6) for name in sorted(due)},
        independent=independent,
    )


def parse_objectives(text: str) -> tuple[Objective, ...]:
    """Parse `ttft:200,e2e:1.5s`: numbers without a unit are milliseconds.

    Raises:
        ConfigurationError: the syntax is wrong; the text says where.
    """
    objectives: dict[str, Objective] = {}
    for part in text.split(","):
        metric, _, limit = (word.strip() for word in part.partition(":"))
        try:
            limit_ms = parse_duration(limit, "ms")
        except ValueError:
            limit_ms = 0.0
        if metric not in _LATENCIES or limit_ms == 0:
            raise ConfigurationError(
                f"--goodput {part.strip()!r}: expected a metric ({', '.join(_LATENCIES)}), a colon and a time above 0, "
                "such as ttft:200 (milliseconds) or e2e:1.5s"
            )
        if metric in objectives:
            raise ConfigurationError(f"--goodput names {metric} twice")
        objectives[metric] = Objective(metric, limit_ms)
    return tuple(objectives.values())


def meets(result: Result, objectives: tuple[Objective, ...]) -> bool:
    """Whether a request met them all. A request that failed or was cut off met none."""
    if result.error is not None or result.censored:
        return False
    for objective in objectives:
        if result.is_whole and objective.metric in OF_GAPS:
            return False  # its user saw nothing of it until its end
        latency_ms = _LATENCIES[objective.metric](result)
        if latency_ms is not None and latency_ms > objective.limit_ms:
            return False
    return True
