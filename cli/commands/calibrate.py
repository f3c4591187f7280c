"""`abatch calibrate`."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from ...engine.errors import ConfigurationError
from ...engine.null_server.truth import read_truths
from ...engine.timing.durations import format_duration
from ...reports.calibration.calibration import INPUT_TOKENS, ITL_MS, OUTPUT_TOKENS, TTFT_MS, Point, make_point
from ...reports.calibration.file import Calibration, save_calibration
from ...reports.renderings.calibration_console import print_point, search_heading, search_line
from ...reports.renderings.terminal import BriefConsole, terminal
from ...reports.run.config import provenance, started_now
from ...reports.text import encoded_json
from ...workloads.targets.wire.names import AUTO, CHAT, checked_api
from ..exit_codes import ExitCode
from ..measuring.plan import MOST_WORKERS, Plan
from ..measuring.rate_search import Found, Limit, highest_rate
from ..measuring.running import run
from ..measuring.targets import NullServer, RemoteServer
from ..naming.bare_words import model_to_serve, only_servers, read_bare_words
from ..naming.environment import tell_key
from ..naming.target import find_target
from ..options.applies import refuse
from ..options.connecting import ConnectingOptions
from ..options.engine import EngineOptions
from ..options.groups import Without, given, with_options
from ..options.recipe import make_traffic
from ..options.rendering import Renderers, RenderingOptions, check_renderings, write_renderings
from ..options.situations import Situation
from ..options.times import time_option
from ..options.traffic import TrafficOptions
from .device_profile import measure_profile
from .progress import Progress

_WARMUP_S = 0.5
_DRAIN_S = 2.0
"""A request takes a quarter of a second; what takes eight times as long is lost anyway."""
_DURATION_S = 10.0
_FIRST_RATE, _PRECISION = 25.0, 1.1
_MAX_RATE = 5000.0
_MAY_FAIL = 2
"""A processor that idles between two requests wakes late: the lowest rates may fail where higher ones hold."""
_SEARCH_DURATION_S = 4.0
_SEARCH_LIMIT_S = 60.0
_SEARCH_POINT_S = 7.0
"""The longest a point takes, with its server's start: none is begun that would not end within the limit."""


class _PointReport(msgspec.Struct, kw_only=True):
    """What --json prints of one rate."""

    is_trusted: bool
    point: Point


class _SearchReport(msgspec.Struct, kw_only=True):
    """What --json prints of a search. `failed_rate` is the lowest that failed above the highest trusted."""

    max_trusted_rate: float | None
    failed_rate: float | None
    limit: Limit
    points: list[Point]
    saved_in: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibratedServer(ConnectingOptions):
    """A server in place of the null server, or the model that a device is measured with."""

    url: Annotated[
        str | None,
        typer.Option("--url", "--base-url", help="Send to this server instead: shows start delay, lag and CPU only."),
    ] = None
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="Model to ask the server for, with --url. Default: its first. With --device: the model to measure, as "
            "in abatch serve. Default: tiny.",
        ),
    ] = None
    timeout_s: Annotated[
        float, time_option("--timeout", least_s=0.001, help="What a request may take. Default: 1m.")
    ] = 60.0


@with_options
def calibrate(
    context: typer.Context,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="URL", help="Short for --url.", show_default=False)
    ] = None,
    request_rate: Annotated[
        float | None, typer.Option("--request-rate", "-r", help="Measure at this rate. Default: find the highest.")
    ] = None,
    duration: Annotated[
        float | None,
        time_option(
            "--duration",
            "-d",
            help=f"How long to send, with --request-rate. Default: {format_duration(_DURATION_S)}. With --device: how "
            "long to measure, beside loading the model twice. Default: 1m.",
        ),
    ] = None,
    max_rate: Annotated[float | None, typer.Option(help=f"Search no higher than this. Default: {_MAX_RATE:g}.")] = None,
    workers: Annotated[int, typer.Option(min=1, max=MOST_WORKERS, help="Sender processes, as in abatch bench.")] = 1,
    device: Annotated[
        str | None,
        typer.Option(help="Measure this device instead (cpu, cuda, cuda:1, auto), and save a profile to simulate it."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="New file for that profile. Default: named by device and model."
        ),
    ] = None,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the result as JSON; - is stdout.")] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only the verdict, and where it is saved.")
    ] = False,
    *,
    server: CalibratedServer,
    engine: Annotated[EngineOptions, Without({"device", "host_overhead"})],
) -> None:
    """Measure what the client itself adds on this machine, and up to which rate it can be trusted.

    Sends 50 input and 20 output tokens per request, at a constant rate, to abatch null-server (ttft 50 ms, itl 10 ms),
    and compares every result with that server's own log.

    Trusted at a rate: start delay p99 under 2 ms, e2e p99 within 2% of the server's log, at most 1% of the requests
    late, and no doubts in the report.

    The highest trusted rate is kept in $XDG_CACHE_HOME/abatch/calibration.json: abatch bench says when it is exceeded.

    With --request-rate the exit code is 4 if the client cannot be trusted at that rate.

    With --device it measures how long the steps of a model take on that device, alone and served, in a minute or two,
    and fits a profile to them: abatch bench --device simulated:FILE.json runs any workload on it in virtual time.
    Nothing else should run meanwhile.
    """
    rendering = RenderingOptions(json=json, quiet=quiet)
    check_renderings(rendering)
    console = rendering.console()
    progress = Progress(terminal(stderr=True, is_brief=quiet))
    if device is not None:
        of_search = {"--request-rate": request_rate, "--max-rate": max_rate}
        flags = [flag for flag, value in of_search.items() if value is not None] + ["--workers"] * (workers != 1)
        refuse(Situation.DEVICE, [*flags, *given(server.typed())])
        model = model_to_serve(read_bare_words(context, words), server.model)
        try:
            profile = measure_profile(replace(engine, device=device), model, duration, output, console, progress)
        except KeyboardInterrupt:
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        write_renderings(rendering, [], console, _as_json(profile))
        return
    refuse(Situation.NO_DEVICE, [*given(engine), *["--output"] * (output is not None)])
    server = find_target(server, only_servers(read_bare_words(context, words)), progress.say)
    tell_key(server, progress.say)
    remote = None
    if server.url is not None:
        if request_rate is None:
            raise ConfigurationError("--url needs --request-rate: a search would overload that server")
        remote = RemoteServer(connection=server.connection(server.url), model=server.model)
    else:
        refuse(Situation.NULL_SERVER, given(server.typed()))
    meter = _Meter(progress, workers, checked_api(server.api), remote)
    try:
        if request_rate is None:
            refuse(Situation.RATE_SEARCH, ["--duration"] * (duration is not None))
            write_renderings(rendering, [], console, _as_json(_search(meter, max_rate, console)))
            return
        refuse(Situation.SINGLE_RATE, ["--max-rate"] * (max_rate is not None))
        point = meter.measure(request_rate, _DURATION_S if duration is None else duration)
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    print_point(console, point)
    report = _PointReport(is_trusted=not point.failed and point.has_truth, point=point)
    write_renderings(rendering, [], console, _as_json(report))
    raise typer.Exit(ExitCode.RULE_INCONCLUSIVE if point.failed else ExitCode.OK)


@dataclass(frozen=True, slots=True)
class _Meter:
    """Measures the client at a rate, each time against a null server of its own, or always against the same server."""

    progress: Progress
    workers: int
    api: str
    remote: RemoteServer | None = None

    def measure(self, request_rate: float, duration_s: float) -> Point:
        """A run at this rate.

        Raises:
            ConfigurationError: rate or duration are out of range.
            AbatchError: the server cannot be started or reached.
            KeyboardInterrupt: before the end.
        """
        if not duration_s > 0:
            raise ConfigurationError(f"--duration must be above 0, not {duration_s:g}")
        traffic = TrafficOptions(
            workload="chat-short",
            turns=1,
            input_len=INPUT_TOKENS,
            output_len=OUTPUT_TOKENS,
            request_rate=request_rate,
            arrival="constant",
            warmup_s=_WARMUP_S,
            duration_s=_WARMUP_S + duration_s,
            drain_s=_DRAIN_S,
        )
        with tempfile.TemporaryDirectory(prefix="abatch-calibrate-") as folder:
            log = Path(folder) / "truth.jsonl"
            source = self.remote or NullServer(ttft_ms=TTFT_MS, itl_ms=ITL_MS, log=log, api=self.api)
            # No floor: what is being measured must not depend on what was measured before.
            plan = Plan(traffic=make_traffic(traffic), source=source, folder=Path(folder) / "run", workers=self.workers)
            measured = run(plan, self.progress)
            if not measured.summary.is_complete:
                raise KeyboardInterrupt
            truths = None if self.remote is not None else read_truths(log)
            return make_point(request_rate, measured.summary, measured.results(), truths)


def _search(meter: _Meter, most: float | None, console: Console) -> _SearchReport:
    """Find the highest trusted rate, a line for each that is tried, and keep it. `most`: no higher one is tried."""
    max_rate = _MAX_RATE if most is None else most
    if not 0 < max_rate < 1e6:
        raise ConfigurationError(f"--max-rate must be above 0, not {max_rate:g}")
    points: list[Point] = []
    deadline_s = time.monotonic() + _SEARCH_LIMIT_S

    def is_trusted(rate: float) -> bool:
        point = meter.measure(rate, _SEARCH_DURATION_S)
        points.append(point)
        if shows_points:
            console.print(search_line(point), soft_wrap=True)
        return not point.failed

    shows_points = not isinstance(console, BriefConsole)
    if shows_points:
        console.print(search_heading(), soft_wrap=True)
    found = highest_rate(
        is_trusted,
        first_rate=_FIRST_RATE,
        max_rate=max_rate,
        precision=_PRECISION,
        may_fail=_MAY_FAIL,
        has_time=lambda: time.monotonic() + _SEARCH_POINT_S < deadline_s,
    )
    best = [point for point in points if point.request_rate == found.rate and not point.failed]
    saved_in, problem = _save(found, best[-1], meter) if best else (None, "nothing to keep")
    if shows_points:
        console.print()
    console.print(_conclusion(found, points))
    if best:
        console.print(f"saved in {saved_in}" if saved_in else f"not saved: {problem}", soft_wrap=True)
    return _SearchReport(
        max_trusted_rate=found.rate, failed_rate=found.failed_rate, limit=found.limit, points=points, saved_in=saved_in
    )


def _save(found: Found, point: Point, meter: _Meter) -> tuple[str | None, str]:
    """Where the calibration was saved, or why it could not be: the user has the result all the same."""
    if meter.api not in (AUTO, CHAT):
        return None, "only that of chat is kept, which abatch bench compares its rates with"
    calibration = Calibration(
        calibrated_at=started_now(),
        provenance=provenance(),
        workers=meter.workers,
        max_trusted_rate=point.request_rate,
        limit=found.limit,
        point=point,
    )
    try:
        return str(save_calibration(calibration)), ""
    except OSError as error:
        return None, f"{error.filename}: {error.strerror}"


def _conclusion(found: Found, points: list[Point]) -> str:
    if found.rate is None:
        rate = points[-1].request_rate if points else 0.0
        return f"NOT TRUSTED at {rate:g} requests/s: give the client CPU cores of its own, then calibrate again"
    text = f"TRUSTED up to {found.rate:g} requests/s of {OUTPUT_TOKENS} output tokens"
    if found.limit is Limit.MAX_RATE:
        return f"{text}, and perhaps beyond: --max-rate ended the search"
    if found.limit is Limit.TIME:
        failed = f"; {found.failed_rate:g}/s failed" if found.failed_rate else ""
        return f"{text}, and perhaps beyond: the time limit ended the search{failed}"
    text += f"; {found.failed_rate:g}/s failed twice"
    if any(point.server_was_slow for point in points if point.request_rate == found.failed_rate):
        text += ", where the null server was slow too: the limit may be its"
    return text


def _as_json(report: msgspec.Struct) -> Renderers:
    return {"json": lambda _: encoded_json(report).decode()}
