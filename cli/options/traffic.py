"""The options that say what is sent: those of every command that runs a workload."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...engine.errors import ConfigurationError
from ...workloads.presets.catalog import DEFAULT_WORKLOAD, WORKLOADS, make_workload
from ...workloads.presets.distributions import Constant
from ...workloads.presets.scales import Scales
from ...workloads.run_limits import RunLimits
from ...workloads.traces.trace import Trace, open_trace
from ...workloads.traces.trace_workload import trace_workload
from ...workloads.workload import Workload
from .options import Option

_DEFAULT_DURATION_S = 60.0

TRAFFIC_OPTIONS = (
    Option(
        "workload",
        ("--workload", "-w"),
        str | None,
        f"One of {', '.join(WORKLOADS)} (abatch workload list says more), or several side by side, with commas. "
        f"Default: {DEFAULT_WORKLOAD}.",
    ),
    Option("trace", ("--trace",), str | None, "Replay this file instead, in any format of abatch workload list."),
    Option("trace_format", ("--trace-format",), str | None, "Do not guess the trace's format by its content."),
    Option("trace_speed", ("--trace-speed",), float | None, "Factor on the pace at which its sessions start."),
    Option(
        "skip_bad_rows", ("--skip-bad-rows",), bool, "Leave out and count rows of a trace that are malformed.", False
    ),
    Option("concurrency", ("--concurrency", "-c"), int | None, "Live sessions, pauses included."),
    Option("request_rate", ("--request-rate", "-r"), float | None, "Sessions started per second."),
    Option("arrival", ("--arrival",), str | None, "constant, poisson or bursty, with --request-rate."),
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
    Option("sub_agents", ("--sub-agents",), float, "Share of coding agents' tool calls that are sub-agents.", 0.0),
    Option(
        "synchronised", ("--synchronised",), bool, "Always-on agents wake together, not each at its own time.", False
    ),
    Option("seed", ("--seed",), int, "Same seed, same traffic.", 0),
)


@dataclass(frozen=True, slots=True)
class Traffic:
    """What is sent, and for how long.

    Attributes:
        values: Of the traffic options: what another process makes the same traffic of.
        trace: The file it comes from, if it is a replay.
    """

    workload: Workload
    limits: RunLimits
    seed: int
    values: dict[str, Any]
    trace: Trace | None = None


def make_traffic(values: dict[str, Any]) -> Traffic:
    """The values of the traffic options as traffic.

    Raises:
        ConfigurationError: a value is out of range, or two contradict each other.
    """
    trace = None
    if values["trace"] is not None:
        if values["workload"] is not None:
            raise ConfigurationError("give --workload or --trace, not both")
        trace = open_trace(
            Path(values["trace"]).expanduser(),
            trace_format=values["trace_format"],
            skip_bad_rows=values["skip_bad_rows"],
        )
    for name in ("trace_format", "trace_speed", "skip_bad_rows") if trace is None else ():
        if values[name]:
            raise ConfigurationError(f"--{name.replace('_', '-')} needs --trace")
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
        sub_agents=values["sub_agents"],
        synchronised=values["synchronised"],
    )
    pace = {name: values[name] for name in ("concurrency", "request_rate", "arrival")}
    if trace is not None:
        workload = trace_workload(trace, scales, **pace, speed=values["trace_speed"])
    else:
        workload = make_workload(values["workload"] or DEFAULT_WORKLOAD, scales).with_pacing(**pace)
    return Traffic(workload, limits, values["seed"], values, trace)


def _constant(value: float | None) -> Constant | None:
    return None if value is None else Constant(value)
