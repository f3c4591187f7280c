"""`abatch workload`: which workloads there are, what they contain, and how to save one as a trace."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, takewhile
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from ...engine.errors import ConfigurationError
from ...engine.timing.durations import format_duration
from ...reports.atomic_file import cannot_write, whole_file
from ...reports.renderings.terminal import terminal
from ...reports.text import clean
from ...reports.traffic.arrivals import ArrivalCounts
from ...reports.traffic.console import arrival_lines, pace_lines, summary_lines
from ...reports.traffic.extent import Extent, extent_of
from ...reports.traffic.sample import check_exportable, has_one_kind_of_pace, is_closed, sample, start_times
from ...reports.traffic.summary import TrafficSummary
from ...workloads.presets.catalog import DEFAULT_WORKLOAD, WORKLOADS, describe, make_workload
from ...workloads.presets.scales import Scales
from ...workloads.session import Session
from ...workloads.traces.formats.native import write_session
from ...workloads.traces.trace import FORMATS, Trace
from ...workloads.workload import Workload, picked
from ..forecast.effects import refuse_without_effect
from ..measuring.traffic import Traffic
from ..options.groups import Without, given, with_options
from ..options.recipe import make_traffic
from ..options.times import time_option
from ..options.traffic import TrafficOptions
from ..parser import Command, Group

_NUM_SESSIONS = 500
"""Drawn of a preset, which has no end."""
_DURATION_S = 60.0
"""Of a preset's arrivals, which have no end either."""
_COLUMNS = 80

_ELSEWHERE = Without(
    {
        "workload",
        "trace",
        "max_in_flight",
        "num_sessions",
        "num_requests",
        "warmup_s",
        "drain_s",
        "cache",
        "text_salt",
        "traffic_class",
    }
)
"""Options of a run, not of what it sends; or given here in another way."""
_SCALES = frozenset({"--context-scale", "--time-scale", "--input-len", "--output-len", "--turns", "--tool-pause"})
"""Options that change sessions of a trace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownTraffic(TrafficOptions):
    """Traffic to look at."""

    duration_s: Annotated[
        float | None,
        time_option(
            "--duration",
            "-d",
            help=f"Of arrivals to look at. Default: {format_duration(_DURATION_S)}; for a trace, all of it.",
        ),
    ] = None


_Name = Annotated[
    str | None,
    typer.Argument(help="A preset of abatch workload list, or several, with commas.", show_default=False),
]
_TraceFile = Annotated[Path | None, typer.Option(help="A file instead, in any format of abatch workload list.")]
_Workload = Annotated[str | None, typer.Option("--workload", "-w", help="The same as NAME, as in abatch bench.")]
_NumSessions = Annotated[
    int | None,
    typer.Option(
        "--num-sessions",
        "--sessions",
        min=1,
        help=f"Look at the first N sessions. Default: {_NUM_SESSIONS}; of a trace, all.",
        metavar="N",
    ),
]

workload = typer.Typer(
    cls=Group, help="Inspect a preset or trace before running it.", rich_markup_mode=None, add_completion=False
)


@workload.command("list", cls=Command)
def list_workloads() -> None:
    """List presets and trace formats."""
    lines = [f"presets (abatch bench --workload NAME; without it, {DEFAULT_WORKLOAD})"]
    for name in WORKLOADS:
        preset = make_workload(name, Scales())
        classes = ", ".join(dict.fromkeys(next(stream.sessions(0)).traffic_class for stream in preset.streams))
        lines += _entry(name, _sentence(describe(name)), f"class {classes}; {'; '.join(pace_lines(preset))}")
    lines += ["", "trace formats (abatch bench --trace FILE; --trace-format forces one)"]
    for name, trace_format in FORMATS.items():
        lines += _entry(name, _sentence(trace_format.description))
    _print(lines)


def _sentence(text: str) -> str:
    return text if text.endswith("?") else f"{text}."


def _entry(name: str, *paragraphs: str) -> list[str]:
    """A name, and beside it its description."""
    lines = [line for paragraph in paragraphs for line in textwrap.wrap(paragraph, _COLUMNS - 17)]
    heads = [name] if len(name) <= 14 else [name, ""]
    if len(heads) == 2:
        return [f"  {name}", *(f"{'':<17}{line}" for line in lines)]
    return [f"{f'  {name}' if not index else '':<17}{line}" for index, line in enumerate(lines)]


@workload.command(cls=Command)
@with_options
def show(
    name: _Name = None,
    workload: _Workload = None,
    trace: _TraceFile = None,
    num_sessions: _NumSessions = None,
    *,
    traffic: Annotated[ShownTraffic, _ELSEWHERE],
) -> None:
    """Show what a preset or a trace contains: lengths, pauses, tools, arrivals. Nothing is sent.

    Options have the same meaning as in abatch bench.
    """
    _refuse_without_effect(name or workload, trace, traffic)
    chosen = _traffic(name, workload, trace, traffic)
    summary, arrivals = TrafficSummary(), ArrivalCounts()
    later: list[Extent] = []
    length_s: float | None = traffic.duration_s
    found = sample(chosen.workload, chosen.seed, _limit(chosen, num_sessions))
    if chosen.trace is None:
        length_s = length_s or _DURATION_S
        for start_s in _until(length_s, start_times(chosen.workload, chosen.seed)):
            arrivals.add(start_s)
    elif not is_closed(chosen.workload):
        found = _counted(found, arrivals, length_s, later)
    for session in found:
        summary.add(session)
    _check_not_empty(chosen, summary.num_sessions)
    _print(_shown(chosen, summary, arrivals, arrivals.latest_s if length_s is None else length_s))
    for rest in later:
        _print(["", *_not_sent(summary, rest)])


@workload.command(cls=Command)
@with_options
def export(
    name: _Name = None,
    workload: _Workload = None,
    trace: _TraceFile = None,
    output: Annotated[
        str, typer.Option("--output", "-o", help="A new file to write, or - for stdout.", show_default=False)
    ] = ...,  # type: ignore[assignment]  # Typer's way to say that it is required
    num_sessions: _NumSessions = None,
    pause_cap: Annotated[
        float | None,
        time_option(
            "--pause-cap",
            may_be_endless=True,
            help="Longest pause; inf is any. Default: 10s; for a trace, inf: its pauses stay as they are.",
            panel=TrafficOptions.panel,
        ),
    ] = None,
    *,
    traffic: Annotated[TrafficOptions, Without({*_ELSEWHERE, "duration_s", "pause_cap_s"})],
) -> None:
    """Write sessions to a file in abatch's own format, one session per line, for abatch bench --trace.

    A preset with an open loop gets the start times of a run with the same seed; one with a closed loop gets none.
    """
    of_user = traffic if pause_cap is None else replace(traffic, pause_cap_s=pause_cap)
    _refuse_without_effect(name or workload, trace, of_user)
    has_scales = pause_cap is not None or not _SCALES.isdisjoint(given(traffic))
    if pause_cap is not None or trace is not None:
        traffic = replace(traffic, pause_cap_s=math.inf if pause_cap is None else pause_cap)
    if output != "-":
        _check_new(Path(output))
    chosen = _traffic(name, workload, trace, traffic)
    check_exportable(chosen.workload)
    if chosen.trace is not None and not has_scales:
        chosen = replace(chosen, workload=_as_recorded(chosen.workload, chosen.trace))
    num_written = num_turns = 0
    with _writing(output) as file:
        for session in sample(chosen.workload, chosen.seed, _limit(chosen, num_sessions)):
            num_written += 1
            num_turns += len(session.turns)
            file.write(write_session(session))
        _check_not_empty(chosen, num_written)
    where = "" if output == "-" else f" to {output}"
    _print([f"wrote {num_written:,} sessions with {num_turns:,} turns{where}", *_left_out(chosen)], is_error=True)


def _traffic(name: str | None, workload: str | None, trace: Path | None, options: TrafficOptions) -> Traffic:
    """What is asked for.

    Raises:
        ConfigurationError: neither a preset nor a trace, or both; or an option is wrong.
    """
    if name is not None and workload not in (None, name):
        raise ConfigurationError(f"give {name} or --workload {workload}, not both")
    name = name or workload
    if name is None and trace is None:
        raise ConfigurationError("name a preset (abatch workload list has them), or give --trace FILE")
    if name is not None and trace is not None:
        raise ConfigurationError("give the name of a preset or --trace, not both")
    return make_traffic(replace(options, workload=name, trace=None if trace is None else str(trace)))


def _refuse_without_effect(name: str | None, trace: Path | None, options: TrafficOptions) -> None:
    """The same for options that change nothing in it."""
    if (name is None) != (trace is None):
        refuse_without_effect(replace(options, workload=name, trace=None if trace is None else str(trace)))


def _limit(chosen: Traffic, num_sessions: int | None) -> int | None:
    return num_sessions or (_NUM_SESSIONS if chosen.trace is None else None)


def _counted(
    sessions: Iterator[Session], arrivals: ArrivalCounts, length_s: float | None, later: list[Extent]
) -> Iterator[Session]:
    """The sessions that start by then, their arrivals counted on the way; and how many others there are."""
    for session in sessions:
        start_s = session.start_s or 0.0
        if length_s is not None and start_s >= length_s:
            later.append(extent_of(chain((session,), sessions)))
            return
        arrivals.add(start_s)
        yield session


def _not_sent(summary: TrafficSummary, rest: Extent) -> Iterator[str]:
    """What a run that is only as long would leave out of a trace."""
    more = "" if rest.is_whole else "more than "
    of_sessions, of_turns = summary.num_sessions + rest.sessions, summary.num_turns + rest.turns
    yield f"not sent, as they start later (-d): {more}{rest.sessions:,} of {of_sessions:,} sessions,"
    yield f"  with {rest.turns:,} of {of_turns:,} turns; without -d, bench replays all of them"


def _until(length_s: float, times: Iterable[float]) -> Iterator[float]:
    return takewhile(lambda time_s: time_s < length_s, times)


def _as_recorded(workload: Workload, trace: Trace) -> Workload:
    """The same at the same pace, but no length and no pause was touched, not even to round it."""
    (stream,) = workload.streams
    return replace(workload, streams=(replace(stream, supply=lambda _, numbers: picked(trace.sessions(), numbers)),))


def _check_not_empty(chosen: Traffic, num_sessions: int) -> None:
    if not num_sessions:
        what = f"the trace {chosen.trace.path}" if chosen.trace else chosen.workload.name
        raise ConfigurationError("; ".join([f"there is no session in {what}", *_left_out(chosen)]))


def _left_out(chosen: Traffic) -> list[str]:
    """What became of rows that are not in the sessions."""
    if chosen.trace is None:
        return []
    skipped, dropped = chosen.trace.num_skipped, chosen.trace.num_dropped
    lines = [f"{skipped:,} malformed rows were skipped"] if skipped else []
    return [*lines, f"{dropped:,} rows that the format does not use were left out"] if dropped else lines


def _shown(chosen: Traffic, summary: TrafficSummary, arrivals: ArrivalCounts, length_s: float) -> Iterator[str]:
    of_what = chosen.workload.name if chosen.trace is None else str(chosen.trace.path)
    yield from textwrap.wrap(clean(f"{of_what}: {chosen.workload.description}"), _COLUMNS, break_long_words=False)
    yield from pace_lines(chosen.workload, chosen.seed)
    yield from _left_out(chosen)
    yield ""
    yield from summary_lines(summary)
    yield ""
    if is_closed(chosen.workload):
        yield "arrivals: a closed loop has no times; a session starts when one before it ends"
        if len(chosen.workload.streams) > 1:
            yield "  (streams are shown by their share of live sessions, not of those that start)"
        return
    yield from arrival_lines(arrivals, length_s)
    if not has_one_kind_of_pace(chosen.workload):
        yield "  (of open loops; in closed ones a session starts when one before it ends)"


@contextlib.contextmanager
def _writing(output: str) -> Iterator[BinaryIO]:
    """A file that is there once it is whole, or stdout."""
    if output == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(output)
    try:
        with whole_file(path) as file:
            yield file
            _check_new(path)  # someone may have made it in the meantime
    except OSError as error:
        raise cannot_write(str(path), error) from error


def _check_new(path: Path) -> None:
    if os.path.lexists(path):
        raise ConfigurationError(f"--output {path} exists already; name a new file")
    if not path.parent.is_dir():
        raise ConfigurationError(f"cannot write --output {path}: there is no folder {path.parent}")


def _print(lines: Iterable[str], *, is_error: bool = False) -> None:
    """Lines as they are: a narrow terminal wraps them, rich does not."""
    console = terminal(stderr=is_error)
    console.print("\n".join(lines), soft_wrap=True)
