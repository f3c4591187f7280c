"""`abatch bench --sweep`: the highest request rate at which the objectives hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from ...engine.errors import ConfigurationError
from ...reports.atomic_file import write_atomically
from ...reports.formatting import milliseconds
from ...reports.recording.goodput import parse_objectives
from ...reports.renderings.html.page import render_html
from ...reports.renderings.shown_run import shown_target
from ...reports.run.folder import default_folder
from ...reports.summary.cache import CacheMode
from ...reports.summary.doubts import doubts
from ...reports.summary.finding import Label
from ...reports.summary.steadiness import grown_in_words
from ...reports.summary.summary import Summary
from ...workloads.run_limits import RunLimits
from ..exit_codes import ExitCode
from ..measuring.measure import run
from ..measuring.observer import Observer
from ..measuring.plan import Plan
from ..measuring.ramp import Ramp, ramp_of
from ..measuring.rate_search import Found, Limit, highest_rate
from ..measuring.traffic import Traffic
from ..options.recipe import make_traffic
from ..options.sweep import SweepOptions
from ..options.traffic import TrafficOptions

PRECISION = 1.05
LEAST_GROWTH = 1.05
"""Of the load: from here on it counts."""
SPARE_GROWTH = 1.25
"""Of requests in flight, beyond that of the load."""


REPORT = "report.html"
"""In the folder of each point."""
MOST_WARMUP_S = 300.0
"""Of a point, unless --warmup asks for more: sessions can last for an hour."""


class SweepPoint(msgspec.Struct, kw_only=True):
    """One try of a rate. `why_not`: what did not hold; empty if all did. `folder`: its run, with a report in it."""

    request_rate: float
    goodput_share: float
    achieved_rate: float
    offered_rate: float
    ttft_p99_ms: float | None
    why_not: list[str]
    folder: str


class SweepReport(msgspec.Struct, kw_only=True):
    """What sweep.json holds.

    Attributes:
        highest_rate: None if none held.
        cache: What a prefix cache may have seen of the texts of each try (see `CacheMode`).
        warmup_s: Of each try. `ramp_s`: until then the load of a try rises, because its sessions have just begun.
    """

    objectives: dict[str, float]
    required_share: float
    highest_rate: float | None
    failed_rate: float | None
    limit: Limit
    cache: str
    warmup_s: float
    ramp_s: float
    points: list[SweepPoint]


class InterruptedSweepError(Exception):
    """A point was cut short: what there is, is in the points."""


@dataclass(slots=True)
class Sweep:
    """Measures rates until the highest that holds is known.

    Attributes:
        measure: A run at this rate, into this folder.
        traffic: What each try sends, at its own rate.
        ramp: How long the load of a try rises.
        tries: Of each rate, as long as it fails.
    """

    measure: Callable[[float, Path], Summary]
    folder: Path
    required_share: float
    on_point: Callable[[SweepPoint], None]
    traffic: Traffic
    ramp: Ramp
    tries: int = 2
    points: list[SweepPoint] = field(default_factory=list)
    objectives: dict[str, float] = field(default_factory=dict)

    def run(self, first_rate: float, max_rate: float) -> SweepReport:
        """Search, and save what was found beside the runs. An interrupted search is saved as far as it went."""
        found = Found(None, None, Limit.INTERRUPTED)
        try:
            found = highest_rate(
                self._holds, first_rate=first_rate, max_rate=max_rate, precision=PRECISION, tries=self.tries
            )
        except InterruptedSweepError:
            held = [point.request_rate for point in self.points if not point.why_not]
            found = Found(max(held, default=None), None, Limit.INTERRUPTED)
        report = SweepReport(
            objectives=self.objectives,
            required_share=self.required_share,
            highest_rate=found.rate,
            failed_rate=found.failed_rate,
            limit=found.limit,
            cache=self.traffic.recipe.cache,
            warmup_s=self.traffic.limits.warmup_s,
            ramp_s=round(self.ramp.length_s, 1),
            points=self.points,
        )
        write_atomically(self.folder / "sweep.json", msgspec.json.format(msgspec.json.encode(report)) + b"\n")
        return report

    def _holds(self, rate: float) -> bool:
        tries = sum(1 for point in self.points if point.request_rate == rate)
        folder = self.folder / (f"rate-{rate:g}" + ("-again" if tries else ""))
        summary = self.measure(rate, folder)
        if not summary.is_complete:
            raise InterruptedSweepError
        assert summary.goodput is not None
        self.objectives = summary.goodput.objectives
        ttft = summary.metrics.get("ttft", {}).get("all")
        warmup_s = self.traffic.limits.warmup_s
        point = SweepPoint(
            request_rate=rate,
            goodput_share=summary.goodput.share,
            achieved_rate=summary.achieved_rate,
            offered_rate=summary.offered_rate,
            ttft_p99_ms=ttft.p99_ms if ttft is not None else None,
            why_not=why_not(summary, self.required_share, self.ramp.growth(warmup_s, warmup_s + summary.measured_s)),
            folder=str(folder),
        )
        self.points.append(point)
        self.on_point(point)
        return not point.why_not


def sweep_rates(
    plan: Plan, options: TrafficOptions, sweep: SweepOptions, observer: Observer, console: Console
) -> ExitCode:
    """Do a sweep: runs of the plan at other rates, in folders within its own. The exit code.

    Args:
        plan: Of a single run.
        options: The traffic's; its rate is the first to be tried.
        sweep: Share of the requests that must meet the objectives, and the highest rate to try.
        observer: Is told which rate is tried.
        console: For the outcome.

    Raises:
        ConfigurationError: there are no objectives, or the traffic has no rate.
        AbatchError: the target cannot be measured.
    """
    if plan.goodput is None:
        raise ConfigurationError("--sweep needs --goodput: what must hold, such as ttft:200,tpot:50")
    first_rate = options.request_rate or 1.0
    options = replace(options, request_rate=first_rate)
    traffic = make_traffic(options)  # a workload without a rate is found before anything starts
    ramp = ramp_of(traffic.workload, traffic.seed, parse_objectives(plan.goodput))
    options = past_the_ramp(options, traffic.limits, ramp)
    folder = plan.folder or default_folder(f"sweep-{plan.traffic.workload.name}")
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ConfigurationError(f"{folder} is not empty; give --output a new folder")

    def measure(rate: float, into: Path) -> Summary:
        observer.say(f"{rate:g} sessions/s")
        of_rate = make_traffic(replace(options, request_rate=rate)).salted_apart(into.name)
        try:
            measured = run(replace(plan, traffic=of_rate, folder=into), observer)
        except KeyboardInterrupt:
            raise InterruptedSweepError from None
        shown = shown_target(f"{rate:g} sessions/s", measured.measurement)
        write_atomically(into / REPORT, render_html([shown]).encode(errors="replace"))
        return measured.summary

    def say(point: SweepPoint) -> None:
        observer.say(f"{point.request_rate:g} sessions/s: {'; '.join(point.why_not) or 'holds'}")

    planned = make_traffic(options)
    if (warmup_s := planned.limits.warmup_s) > traffic.limits.warmup_s:
        observer.say(f"each rate is measured after {warmup_s:.0f} s, when as many sessions end as begin (--warmup)")
    tries = 1 if plan.source.is_virtual else 2
    sweeping = Sweep(measure, folder, sweep.sweep_share, say, planned, ramp, tries)
    report = sweeping.run(first_rate, sweep.max_rate)
    if report.points:
        print_sweep(console, report)
    console.print(f"saved in {folder}, each rate with its {REPORT}", soft_wrap=True)
    if report.limit is Limit.INTERRUPTED:
        return ExitCode.INTERRUPTED
    return ExitCode.OK if report.highest_rate is not None else ExitCode.FAILED


def past_the_ramp(options: TrafficOptions, limits: RunLimits, ramp: Ramp) -> TrafficOptions:
    """The traffic of each try: warmed up until its load no longer rises, unless --warmup was given, then as long.

    A try that ends after a number of sessions has no time to warm up in.
    """
    if options.warmup_s is not None or limits.duration_s is None or ramp.length_s <= limits.warmup_s:
        return options
    warmup_s = math.ceil(min(ramp.length_s, MOST_WARMUP_S))
    return replace(options, warmup_s=warmup_s, duration_s=limits.duration_s - limits.warmup_s + warmup_s)


def why_not(summary: Summary, required_share: float, growth: float = 1.0) -> list[str]:
    """What shows that a rate did not hold; empty if it did.

    `growth`: by how much the load rose from the first half of the measured part to the second, because sessions had
    just begun. As long as requests in flight grew hardly more than that, growth is the workload's.
    """
    assert summary.goodput is not None
    steady, trend = summary.steady_state, summary.trend
    is_rising = (
        growth > LEAST_GROWTH and steady is not None and steady.second_half <= steady.first_half * growth * SPARE_GROWTH
    )
    found, has_grown = [], False
    for problem in doubts(summary):
        if problem.label not in (Label.OVERLOADED, Label.NOT_STEADY) or trend is None:
            found.append(problem.words)
        elif not is_rising:
            has_grown = True
            found.append(f"{problem.label.lower()}: {grown_in_words(trend)}")
    if summary.goodput.share < required_share:
        found.append(f"{summary.goodput.share:.1%} met the objectives, of {required_share:.1%} required")
    if steady is not None and not (steady.is_steady or is_rising or has_grown):
        found.append(f"requests in flight grew from {steady.first_half:.0f} to {steady.second_half:.0f}")
    return found


def print_sweep(console: Console, report: SweepReport) -> None:
    """The points as a table, and the answer."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("sessions/s", "requests/s", "goodput", "ttft p99"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("run", no_wrap=True)
    table.add_column("", overflow="fold")
    for point in sorted(report.points, key=lambda point: point.request_rate):
        ttft = "-" if point.ttft_p99_ms is None else milliseconds(point.ttft_p99_ms)
        outcome = "; ".join(point.why_not) or "holds"
        cells = f"{point.request_rate:g}", f"{point.offered_rate:.2f}", f"{point.goodput_share:.1%}", ttft
        table.add_row(*cells, Path(point.folder).name, outcome, style="yellow" if point.why_not else "green")
    console.print(table)
    console.print()
    for note in _notes(report):
        console.print(f"note: {note}", style="yellow")
    objectives = ", ".join(f"{metric} {limit_ms:g} ms" for metric, limit_ms in report.objectives.items())
    what = f"{report.required_share:.1%} of requests within {objectives}"
    if report.highest_rate is None:
        console.print(
            f"NO RATE holds {what} (tried: {', '.join(f'{point.request_rate:g}' for point in report.points)})"
        )
        return
    above = "" if report.failed_rate is None else f"; {report.failed_rate:g} does not"
    console.print(f"HIGHEST RATE: {report.highest_rate:g} sessions/s hold {what}{above} ({report.limit})")


def _notes(report: SweepReport) -> Iterator[str]:
    """What a reader should know before believing the rate."""
    if report.cache == CacheMode.AS_IS:
        yield "--cache as-is: each try sent texts that the tries before it had sent, so a prefix cache may know them"
    elif report.cache == CacheMode.WARM:
        yield "--cache warm: the first prompts of each try were sent once before it"
    if report.ramp_s > report.warmup_s:
        yield (
            f"the load of a rate rises for {report.ramp_s:.0f} s, until as many sessions end as begin, and was measured"
            f" from {report.warmup_s:.0f} s on: what holds may not hold for longer; give --warmup {report.ramp_s:.0f}"
        )
