"""`abatch bench --sweep`: the highest request rate at which the objectives hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from ...engine.errors import ConfigurationError
from ...reports.atomic_file import write_atomically
from ...reports.formatting import milliseconds
from ...reports.run.folder import default_folder
from ...reports.summary.doubts import doubts
from ...reports.summary.summary import Summary
from ..exit_codes import ExitCode
from ..measuring.measure import run
from ..measuring.observer import Observer
from ..measuring.plan import Plan
from ..measuring.rate_search import Found, Limit, highest_rate
from ..options.recipe import make_traffic
from ..options.sweep import SweepOptions
from ..options.traffic import TrafficOptions

PRECISION = 1.05


class SweepPoint(msgspec.Struct, kw_only=True):
    """One rate. `why_not`: what did not hold; empty if all did. `folder`: of its run."""

    request_rate: float
    goodput_share: float
    achieved_rate: float
    offered_rate: float
    ttft_p99_ms: float | None
    why_not: list[str]
    folder: str


class SweepReport(msgspec.Struct, kw_only=True):
    """What sweep.json holds. `highest_rate`: None if none held."""

    objectives: dict[str, float]
    required_share: float
    highest_rate: float | None
    failed_rate: float | None
    limit: Limit
    points: list[SweepPoint]


class InterruptedSweepError(Exception):
    """A point was cut short: what there is, is in the points."""


@dataclass(slots=True)
class Sweep:
    """Measures rates until the highest that holds is known."""

    measure: Callable[[float, Path], Summary]
    """A run at this rate, into this folder."""
    folder: Path
    required_share: float
    on_point: Callable[[SweepPoint], None]
    points: list[SweepPoint] = field(default_factory=list)
    objectives: dict[str, float] = field(default_factory=dict)

    def run(self, first_rate: float, max_rate: float) -> SweepReport:
        """Search, and save what was found beside the runs. An interrupted search is saved as far as it went."""
        found = Found(None, None, Limit.INTERRUPTED)
        try:
            found = highest_rate(self._holds, first_rate=first_rate, max_rate=max_rate, precision=PRECISION, may_fail=0)
        except InterruptedSweepError:
            held = [point.request_rate for point in self.points if not point.why_not]
            found = Found(max(held, default=None), None, Limit.INTERRUPTED)
        report = SweepReport(
            objectives=self.objectives,
            required_share=self.required_share,
            highest_rate=found.rate,
            failed_rate=found.failed_rate,
            limit=found.limit,
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
        point = SweepPoint(
            request_rate=rate,
            goodput_share=summary.goodput.share,
            achieved_rate=summary.achieved_rate,
            offered_rate=summary.offered_rate,
            ttft_p99_ms=ttft.p99_ms if ttft is not None else None,
            why_not=why_not(summary, self.required_share),
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
    make_traffic(replace(options, request_rate=first_rate))  # a workload without a rate is found before anything starts
    folder = plan.folder or default_folder(f"sweep-{plan.traffic.workload.name}")
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ConfigurationError(f"{folder} is not empty; give --output a new folder")

    def measure(rate: float, into: Path) -> Summary:
        observer.say(f"{rate:g} sessions/s")
        traffic = make_traffic(replace(options, request_rate=rate)).salted_apart(into.name)
        try:
            return run(replace(plan, traffic=traffic, folder=into), observer).summary
        except KeyboardInterrupt:
            raise InterruptedSweepError from None

    def say(point: SweepPoint) -> None:
        observer.say(f"{point.request_rate:g} sessions/s: {'; '.join(point.why_not) or 'holds'}")

    report = Sweep(measure, folder, sweep.sweep_share, say).run(first_rate, sweep.max_rate)
    if report.points:
        print_sweep(console, report)
    console.print(f"saved in {folder}", soft_wrap=True)
    if report.limit is Limit.INTERRUPTED:
        return ExitCode.INTERRUPTED
    return ExitCode.OK if report.highest_rate is not None else ExitCode.FAILED


def why_not(summary: Summary, required_share: float) -> list[str]:
    """What shows that a rate did not hold; empty if it did."""
    assert summary.goodput is not None
    found = [doubt.words for doubt in doubts(summary)]
    if summary.goodput.share < required_share:
        found.append(f"{summary.goodput.share:.1%} met the objectives, of {required_share:.1%} required")
    if (steady := summary.steady_state) is not None and not steady.is_steady:
        found.append(f"requests in flight grew from {steady.first_half:.0f} to {steady.second_half:.0f}")
    return found


def print_sweep(console: Console, report: SweepReport) -> None:
    """The points as a table, and the answer."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("sessions/s", "requests/s", "goodput", "ttft p99"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for point in sorted(report.points, key=lambda point: point.request_rate):
        ttft = "-" if point.ttft_p99_ms is None else milliseconds(point.ttft_p99_ms)
        outcome = "; ".join(point.why_not) or "holds"
        cells = f"{point.request_rate:g}", f"{point.offered_rate:.2f}", f"{point.goodput_share:.1%}", ttft
        table.add_row(*cells, outcome, style="yellow" if point.why_not else "green")
    console.print(table)
    console.print()
    objectives = ", ".join(f"{metric} {limit_ms:g} ms" for metric, limit_ms in report.objectives.items())
    what = f"{report.required_share:.1%} of requests within {objectives}"
    if report.highest_rate is None:
        console.print(
            f"NO RATE holds {what} (tried: {', '.join(f'{point.request_rate:g}' for point in report.points)})"
        )
        return
    above = "" if report.failed_rate is None else f"; {report.failed_rate:g} does not"
    console.print(f"HIGHEST RATE: {report.highest_rate:g} sessions/s hold {what}{above} ({report.limit})")
