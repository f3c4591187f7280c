"""The options that say what is sent: those of every command that runs a workload."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, ClassVar

from typer import Option

from ...engine.timing.durations import format_duration
from ...reports.summary.cache import CacheMode
from ...workloads.presets.catalog import DEFAULT_WORKLOAD, WORKLOADS
from .times import time_option

DEFAULT_DURATION_S = 60.0
_NOT_SENT = ("text_salt", "traffic_class")
"""Options that leave the requests as they are, but for what their texts say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficOptions:
    """What is sent, and for how long. None: as the workload has it."""

    panel: ClassVar[str] = "Traffic"

    workload: Annotated[
        str | None,
        Option(
            "--workload",
            "-w",
            help=f"One of {', '.join(WORKLOADS)} (described by abatch workload list), or several side by side, with "
            f"commas. Default: {DEFAULT_WORKLOAD}.",
        ),
    ] = None
    trace: Annotated[str | None, Option(help="Replay this file instead, in any format of abatch workload list.")] = None
    trace_format: Annotated[str | None, Option(help="Format of the trace, if its content does not tell.")] = None
    trace_speed: Annotated[float | None, Option(help="Factor on the pace at which the trace's sessions start.")] = None
    skip_bad_rows: Annotated[bool, Option("--skip-bad-rows", help="Skip and count malformed rows of the trace.")] = (
        False
    )
    concurrency: Annotated[int | None, Option("--concurrency", "-c", help="Live sessions, pauses included.")] = None
    request_rate: Annotated[
        float | None,
        Option(
            "--request-rate",
            "-r",
            help="Requests per second, all turns counted, once as many sessions end as begin.",
        ),
    ] = None
    session_rate: Annotated[float | None, Option(help="Sessions started per second, instead of --request-rate.")] = None
    arrival: Annotated[
        str | None, Option(help="How sessions arrive: constant, poisson or bursty, with one of these rates.")
    ] = None
    max_in_flight: Annotated[int | None, Option(help="Most requests at once; waiting counts as latency.")] = None
    duration_s: Annotated[
        float | None,
        time_option(
            "--duration",
            "-d",
            help="How long to send, such as 90, 90s, 2m or 1h30m. Default: "
            f"{format_duration(DEFAULT_DURATION_S)}; of a trace, all of it.",
        ),
    ] = None
    num_sessions: Annotated[
        int | None, Option("--num-sessions", "--sessions", help="End after this many sessions.")
    ] = None
    num_requests: Annotated[int | None, Option(help="End after this many requests; sessions end where they are.")] = (
        None
    )
    warmup_s: Annotated[
        float | None,
        time_option("--warmup", help="Excluded at the start. Default: 5s, or a tenth of --duration if less."),
    ] = None
    drain_s: Annotated[
        float, time_option("--drain", help="For requests in flight at the end to finish. Default: 30s.")
    ] = 30.0
    input_len: Annotated[int | None, Option("--input-len", "--isl", min=1, help="New tokens per turn.")] = None
    output_len: Annotated[int | None, Option("--output-len", "--osl", min=1, help="Output tokens per turn.")] = None
    turns: Annotated[int | None, Option(min=1, help="Turns per session.")] = None
    tool_pause_s: Annotated[float | None, time_option("--tool-pause", help="What a tool takes.")] = None
    context_scale: Annotated[float, Option(help="Factor on prompt lengths.")] = 1.0
    time_scale: Annotated[float, Option(help="Factor on pauses, not on when sessions start (--trace-speed).")] = 1.0
    pause_cap_s: Annotated[
        float, time_option("--pause-cap", may_be_endless=True, help="Longest pause; inf is any. Default: 10s.")
    ] = 10.0
    sub_agents: Annotated[float, Option(help="Share of coding agents' tool calls that are sub-agents.")] = 0.0
    synchronised: Annotated[
        bool,
        Option("--synchronised", "--synchronized", help="Always-on agents all wake at the same moment."),
    ] = False
    seed: Annotated[int, Option(help="Same seed, same traffic.")] = 0
    cache: Annotated[
        str,
        Option(
            help="Prompts that the server's prefix cache may have seen. cold: none, texts are new in every run; warm: "
            "the first prompt of each session, sent once before the run; as-is: whatever runs of this seed left.",
        ),
    ] = CacheMode.COLD.value
    text_salt: Annotated[
        str | None, Option(help="Repeat the prompts of the run that has this text_salt in its config.json.")
    ] = None

    traffic_class: Annotated[
        str | None,
        Option("--class", help="Traffic class to judge; all: every class together. Default: the workload's."),
    ] = None

    @property
    def has_end(self) -> bool:
        """Whether they say when the run ends, or their trace does; otherwise a default does."""
        return any(one is not None for one in (self.duration_s, self.num_sessions, self.num_requests, self.trace))

    def saved(self) -> dict[str, object]:
        """What config.json keeps of it, by the names of the options. Runs that differ in salt got the same traffic."""
        return {name.removesuffix("_s"): value for name, value in asdict(self).items() if name not in _NOT_SENT}
