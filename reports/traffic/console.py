"""What traffic contains, on the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from ...workloads.workload import ClosedLoop, OpenLoop, Replay, Stream, Workload
from ..statistics.tally import Tally
from ..text import clean
from .arrivals import ArrivalCounts
from .picture import LogAxis, duration, timeline
from .summary import GAPS, ClassTraffic, TrafficSummary

_MOST_TOOLS_SHOWN = 8
_MOST_NAME_COLUMNS = 50
_LABEL_COLUMNS = 19
_ARRIVAL_COLUMNS = 66
_LEAST_WAIT_US = 1000
"""Where the axis of waits begins at the earliest."""


def pace_lines(workload: Workload, seed: int = 0) -> list[str]:
    """How its sessions start, one line for each kind of pace."""
    closed = [stream for stream in workload.streams if isinstance(stream.pacing, ClosedLoop)]
    lines = []
    if closed:
        counts = ", ".join(f"{_concurrency(stream)} {clean(stream.name)}" for stream in closed)
        live = f"{_concurrency(closed[0])}" if len(workload.streams) == 1 else counts
        lines.append(f"closed loop of {live} sessions")
    for stream in workload.streams:
        name = "" if len(workload.streams) == 1 else f"{clean(stream.name)} "
        match stream.pacing:
            case OpenLoop(rate, arrival):
                requests = rate * stream.requests_per_session(seed)
                rates = f"{requests:.4g} {name}requests/s in {rate:.4g} sessions/s"
                lines.append(f"open loop, {rates}, {arrival}")
            case Replay(speed):
                lines.append("starts as recorded" + (f", at {speed:g} times the speed" if speed != 1 else ""))
    return lines


def _concurrency(stream: Stream) -> int:
    return stream.pacing.concurrency if isinstance(stream.pacing, ClosedLoop) else 0


def summary_lines(summary: TrafficSummary) -> Iterator[str]:
    """Numbers and pictures of what was counted."""
    yield f"{_count(summary.num_sessions, 'session')}, {_count(summary.num_turns, 'request')}"
    yield ""
    yield from _table(summary)
    yield ""
    yield from _pictures(summary)
    yield from _facts(summary)
    if summary.tools:
        yield ""
        yield from _tools(summary)


def arrival_lines(arrivals: ArrivalCounts, length_s: float) -> Iterator[str]:
    """Arrivals over a time that begins at 0."""
    if not arrivals.count:
        yield f"arrivals: none within {duration(length_s)}"
        return
    rate = f", {_rate(arrivals.count / length_s)}" if length_s else ""
    dispersion = arrivals.dispersion(length_s)
    bursts = "" if dispersion is None else f", index of dispersion {_significant(dispersion)}"
    yield f"arrivals: {_count(arrivals.count, 'session')} in {duration(length_s)}{rate}{bursts}"
    counts, column_s = arrivals.columns(length_s, _ARRIVAL_COLUMNS)
    yield from timeline(counts, column_s)
    yield f"     (a column is {duration(column_s)}; independent arrivals have an index of dispersion of 1)"
    if arrivals.tick_s is not None:
        yield f"     (the trace's clock ticks about every {_significant(arrivals.tick_s)} s, which looks like bursts)"


def _table(summary: TrafficSummary) -> Iterator[str]:
    yield _row("", "n", "p50", "p90", "p99", "max", "mean")
    for name in _class_names(summary):
        traffic = summary.classes[name]
        yield clean(name)
        yield _tally_row("turns per session", traffic.turns)
        for label, tally in _lengths(traffic):
            yield _tally_row(f"{label} tokens", tally)
        for kind, tally in sorted(traffic.waits_us.items()):
            yield _tally_row(f"{kind} (s)", tally, unit=1e6)


def _row(label: str, *cells: str) -> str:
    return f"{label:<22}" + "".join(f"{cell:>9}" for cell in cells)


def _tally_row(label: str, tally: Tally, unit: float = 0.0) -> str:
    """`unit` is that of times; lengths are whole numbers."""

    def cell(value: float) -> str:
        return (
            _seconds(value / unit) if unit else f"{value:,.0f}" if value >= 1000 or value % 1 == 0 else f"{value:.1f}"
        )

    values = [*tally.percentiles(50, 90, 99), tally.largest, tally.mean]
    return _row(f"  {label}", f"{tally.count:,}", *map(cell, values))


def _lengths(traffic: ClassTraffic) -> list[tuple[str, Tally]]:
    return [("prompt", traffic.prompt), ("new", traffic.new), ("output", traffic.output)]


def _class_names(summary: TrafficSummary) -> list[str]:
    return sorted(summary.classes, key=lambda name: -summary.classes[name].turns.sum)


def _pictures(summary: TrafficSummary) -> Iterator[str]:
    """Distributions, those of lengths on one axis and those of waits on another, so that they can be compared."""
    names = _class_names(summary)
    lengths = [(name, f"{label} tokens", tally) for name in names for label, tally in _lengths(summary.classes[name])]
    yield from _histograms(lengths, LogAxis([tally for _, _, tally in lengths]), 1.0, "tokens")
    waits = [
        (name, kind, tally)
        for name in names
        for kind, tally in sorted(summary.classes[name].waits_us.items())
        if tally.largest
    ]
    if waits:
        yield from _histograms(waits, LogAxis([tally for *_, tally in waits], least=_LEAST_WAIT_US), 1e6, "seconds")


def _histograms(rows: list[tuple[str, str, Tally]], axis: LogAxis, unit: float, unit_name: str) -> Iterator[str]:
    has_classes = len({name for name, _, _ in rows}) > 1
    shown = None
    for name, label, tally in rows:
        if has_classes and name != shown:
            yield clean(name)
            shown = name
        yield f"  {label:<{_LABEL_COLUMNS - 2}}{axis.picture(tally)}".rstrip()
    yield " " * _LABEL_COLUMNS + axis.scale()
    yield f"  {unit_name:<{_LABEL_COLUMNS - 2}}{axis.labels(unit)}"
    yield ""


def _facts(summary: TrafficSummary) -> Iterator[str]:
    prompt = summary.num_prompt_tokens
    yield f"{prompt:,} prompt tokens and {summary.num_output_tokens:,} output tokens in total"
    if prompt:
        repeated, shared = summary.num_repeated / prompt, summary.num_shared / prompt
        more = " or more" if summary.is_lower_bound else ""
        if not summary.num_repeated + summary.num_shared:
            yield "prefix cache: no use, because no prompt repeats earlier text"
        else:
            yield f"prefix cache: at best {repeated + shared:.1%}{more} of the prompt tokens come from it:"
            yield f"  {repeated:.1%} repeat the session's own context, {shared:.1%} that of earlier sessions"
    if summary.has_estimates:
        yield "  (lengths of recorded text are estimates, at 4 characters per token)"
    if summary.num_paused:
        capped = summary.num_capped / summary.num_paused
        yield f"pauses: {summary.num_capped:,} of {summary.num_paused:,} ({capped:.1%}) are capped by --pause-cap"
    if any(kind.endswith(GAPS) for traffic in summary.classes.values() for kind in traffic.waits_us):
        yield "  (gaps count from the request before, pauses from its answer)"
    for tick_s in sorted(summary.ticks_s):
        yield f"heartbeats wait for the next multiple of {tick_s:.4g} s"
    if summary.at_once.largest == 1:
        yield "parallel tool calls: none"
    elif summary.at_once.count:
        p50, p90, p99 = summary.at_once.percentiles(50, 90, 99)
        values = f"mean {summary.at_once.mean:.2f}, p50 {p50}, p90 {p90}, p99 {p99}, max {summary.at_once.largest}"
        yield f"parallel tool calls per step: {values}"
    if summary.num_sub_agents:
        yield f"sub-agents: {summary.num_sub_agents:,}, started by {_count(summary.num_delegations, 'turn')}"


def _tools(summary: TrafficSummary) -> Iterator[str]:
    ranked = summary.tools.most_common()
    heading = "slowest tool of a step" if summary.at_once.largest > 1 else "tool"
    width = min(max(len(heading), *(len(name) + 2 for name, _ in ranked[:_MOST_TOOLS_SHOWN])), _MOST_NAME_COLUMNS)
    yield f"{heading:<{width}}{'turns':>9}{'share':>9}{'p50 (s)':>9}"
    for name, count in ranked[:_MOST_TOOLS_SHOWN]:
        times = summary.tools_us.get(name)
        median = _seconds(times.percentiles(50)[0] / 1e6) if times else "-"
        label = clean(name, width - 2)
        yield f"  {label:<{width - 2}}{count:>9,}{count / summary.num_tool_turns:>9.1%}{median:>9}"
    if rest := ranked[_MOST_TOOLS_SHOWN:]:
        count = sum(number for _, number in rest)
        yield f"  {f'{len(rest)} others':<{width - 2}}{count:>9,}{count / summary.num_tool_turns:>9.1%}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _significant(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def _rate(per_s: float) -> str:
    """A rate in the unit that keeps it readable."""
    for unit, length_s in (("s", 1), ("min", 60), ("h", 3600)):
        if per_s * length_s >= 0.1:
            return f"{_significant(per_s * length_s)}/{unit}"
    return f"{_significant(per_s * 86400)}/day"


def _seconds(value: float) -> str:
    """A time with about three significant digits, in seconds."""
    if value < 0.0005:
        return "<0.001" if value else "0"
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 100 else f"{value:.2f}" if value >= 10 else f"{value:.3f}"
