"""The options that say what is sent: those of every command that runs a workload."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..workloads.catalog import DEFAULT_WORKLOAD, WORKLOADS, describe, make_workload
from ..workloads.distributions import Constant
from ..workloads.run_limits import RunLimits
from ..workloads.scales import Scales
from ..workloads.workload import Workload
from .options import Option

_DEFAULT_DURATION_S = 60.0

TRAFFIC_OPTIONS = (
    Option(
        "workload",
        ("--workload", "-w"),
        str,
        "; ".join(f"{name}: {describe(name)}" for name in WORKLOADS),
        DEFAULT_WORKLOAD,
    ),
    Option("concurrency", ("--concurrency", "-c"), int | None, "Live sessions, pauses included."),
    Option("request_rate", ("--request-rate", "-r"), float | None, "Sessions started per second."),
    Option("arrival", ("--arrival",), str | None, "constant or poisson, with --request-rate."),
    Option("max_in_flight", ("--max-in-flight",), int | None, "Requests at once; waiting counts as latency."),
    Option("duration", ("--duration", "-d"), float | None, f"Seconds of sending. Default: {_DEFAULT_DURATION_S:g}."),
    Option("num_sessions", ("--num-sessions",), int | None, "End after this many sessions."),
    Option("warmup", ("--warmup",), float | None, "Seconds that do not count at first. Default: 5, at most a tenth."),
    Option("drain", ("--drain",), float, "Seconds to finish what is in flight at the end.", 30.0),
    Option("input_len", ("--input-len", "--isl"), int | None, "New tokens a turn.", limits={"min": 1}),
    Option("output_len", ("--output-len", "--osl"), int | None, "Output tokens a turn.", limits={"min": 1}),
    Option("turns", ("--turns",), int | None, "Turns a session.", limits={"min": 1}),
    Option("tool_pause", ("--tool-pause",), float | None, "Seconds a tool takes.", limits={"min": 0}),
    Option("context_scale", ("--context-scale",), float, "Factor on prompt lengths.", 1.0),
    Option("time_scale", ("--time-scale",), float, "Factor on pauses.", 1.0),
    Option("pause_cap", ("--pause-cap",), float, "Longest pause in seconds.", 10.0),
    Option("seed", ("--seed",), int, "Same seed, same traffic.", 0),
)


@dataclass(frozen=True, slots=True)
class Traffic:
    """What is sent, and for how long."""

    workload: Workload
    limits: RunLimits
    seed: int


def make_traffic(values: dict[str, Any]) -> Traffic:
    """The values of the traffic options as traffic.

    Raises:
        ConfigurationError: a value is out of range, or two contradict each other.
    """
    duration = values["duration"]
    if duration is None and values["num_sessions"] is None:
        duration = _DEFAULT_DURATION_S
    warmup = values["warmup"]
    if warmup is None:
        warmup = min(5.0, duration / 10) if duration else 0.0
    limits = RunLimits(
        duration_s=duration,
        num_sessions=values["num_sessions"],
        warmup_s=warmup,
        drain_s=values["drain"],
        max_in_flight=values["max_in_flight"],
    )
    scales = Scales(
        context=values["context_scale"],
        time=values["time_scale"],
        pause_cap_s=values["pause_cap"],
        input_tokens=_constant(values["input_len"]),
        output_tokens=_constant(values["output_len"]),
        turns=_constant(values["turns"]),
        tool_pause_s=_constant(values["tool_pause"]),
    )
    workload = make_workload(values["workload"], scales).with_pacing(
        concurrency=values["concurrency"], request_rate=values["request_rate"], arrival=values["arrival"]
    )
    return Traffic(workload, limits, values["seed"])


def _constant(value: float | None) -> Constant | None:
    return None if value is None else Constant(value)
