"""`abatch bench --sweep`: the highest request rate at which the objectives hold."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from rich.console import Console

from ...engine.errors import AbatchError, ConfigurationError
from ...reports.atomic_file import save
from ...reports.formatting import milliseconds, significant
from ...reports.recording.goodput import parse_objectives
from ...reports.renderings.console import print_repeat, print_summary
from ...reports.renderings.fitted_table import Column, Row, print_table
from ...reports.renderings.shown_run import shown_target
from ...reports.run.folder import SWEEP, check_can_save, default_folder, make_empty
from ...reports.run.writer import NotSavedError
from ...reports.summary.cache import CacheMode
from ...reports.summary.summary import Summary
from ...reports.text import clean, encoded_json
from ...workloads.run_limits import RunLimits
from ..exit_codes import ExitCode
from ..forecast.dry_run import print_plan, target_in_words, traffic_in_words
from ..forecast.several import sweep_in_words
from ..measuring.observer import Observer
from ..measuring.plan import Plan
from ..measuring.ramp import Ramp, ramp_of
from ..measuring.rate_search import Limit, rounded
from ..measuring.running import run
from ..measuring.sweep import InterruptedSweepError, Sweep, SweepPoint, SweepReport
from ..options.groups import words
from ..options.recipe import make_traffic
from ..options.rendering import RENDERERS
from ..options.sweep import SweepOptions
from ..options.traffic import TrafficOptions

REPORT = "report.html"
"""In the folder of each point."""
_FIRST_RATE = 1.0
"""Requests per second, where no rate is given."""
MOST_WARMUP_S = 300.0
"""Of a point, unless --warmup asks for more: sessions can last for an hour."""


def sweep_rates(
    plan: Plan,
    options: TrafficOptions,
    sweep: SweepOptions,
    observer: Observer,
    console: Console,
    *,
    is_dry_run: bool = False,
) -> ExitCode:
    """Do a sweep: runs of the plan at other rates, in folders within its own. The exit code.

    Args:
        plan: Of a single run.
        options: The traffic's; its rate is the first to be tried.
        sweep: Share of the requests that must meet the objectives, and the highest rate to try.
        observer: Is told which rate is tried.
        console: For the outcome.
        is_dry_run: Print what would be tried, and neither send nor write anything.

    Raises:
        ConfigurationError: there are no objectives, or the traffic has no rate.
        AbatchError: the target cannot be measured.
    """
    if plan.goodput is None:
        raise ConfigurationError("--sweep needs --goodput: what must hold, such as ttft:200,tpot:50")
    models = plan.traffic.recipe.models
    salted = plan.traffic.salted(server_is_new=plan.source.is_new)  # one salt, so that the whole can be repeated
    options = replace(options, text_salt=salted.text_salt or None)
    command = None if plan.command is None else salted.asked_for_by(plan.command.with_words(words(sweep)))
    if options.request_rate is None and options.session_rate is None:
        options = replace(options, request_rate=_FIRST_RATE)
    traffic = make_traffic(options, models)  # a workload without a rate is found before anything starts
    rates = traffic.rates
    assert rates is not None, "one was given"
    first_rate = rates.requests if options.request_rate is not None else rounded(rates.requests)
    options = replace(options, request_rate=first_rate, session_rate=None)
    per_session = rates.requests / rates.sessions
    ramp = ramp_of(traffic.workload, traffic.seed, parse_objectives(plan.goodput))
    options = past_the_ramp(options, traffic.limits, ramp)
    planned = make_traffic(options, models)
    is_exact = plan.source.is_virtual
    tries = sweep_in_words(
        first_rate, sweep.max_rate, replace(plan, traffic=planned), datetime.now(), is_exact=is_exact
    )
    if is_dry_run:
        check_can_save(plan.folder, is_for_several=True)
        print_plan(console, _planned(plan, tries, sweep))
        return ExitCode.OK
    observer.say(f"sweep: {tries}")
    folder = plan.folder or default_folder(f"sweep-{plan.traffic.workload.name}")
    make_empty(folder)
    problem: AbatchError | None = None

    def measure(rate: float, into: Path, times: int) -> Summary:
        nonlocal problem
        in_sessions = "" if per_session == 1 else f" ({significant(rate / per_session)} sessions/s)"
        for_longer = ", for longer: what grew may be chance" if times > 1 else ""
        observer.say(f"{rate:g} requests/s{in_sessions}{for_longer}")
        lasting = lengthened(options, planned.limits, times) if times > 1 else options
        of_rate = make_traffic(replace(lasting, request_rate=rate), models).salted_apart(into.name)
        try:
            measured = run(replace(plan, traffic=of_rate, folder=into), observer)
        except KeyboardInterrupt:
            raise InterruptedSweepError from None
        except NotSavedError as error:
            print_summary(console, error.summary)
            problem = error
            raise InterruptedSweepError from None
        shown = shown_target(f"{rate:g} requests/s", measured.measurement)
        try:
            save(into / REPORT, RENDERERS["html"]([shown]).encode(errors="replace"))
        except AbatchError as error:
            problem = error  # the rate counts, and is the last
        return measured.summary

    def say(point: SweepPoint) -> None:
        observer.say(f"{point.request_rate:g} requests/s: {'; '.join(point.why_not) or 'holds'}")
        if problem is not None:
            raise InterruptedSweepError

    if (warmup_s := planned.limits.warmup_s) > traffic.limits.warmup_s:
        rises = "its load rises until as many sessions end as begin"
        observer.say(f"each rate is warmed up for {warmup_s:.0f} s, because {rises} (--warmup)")
    sweeping = Sweep(measure, folder, sweep.sweep_share, say, planned, ramp, per_session, is_exact=is_exact)
    report = sweeping.run(first_rate, sweep.max_rate)
    if report.points:
        print_sweep(console, report)
    if problem is not None:
        raise problem
    report.command = command
    save(folder / SWEEP, encoded_json(report))
    if report.points:
        console.print(f"saved in {folder}, each rate with its {REPORT}", soft_wrap=True)
    print_repeat(console, command)
    if report.limit is Limit.INTERRUPTED:
        return ExitCode.INTERRUPTED
    return ExitCode.OK if report.highest_rate is not None else ExitCode.FAILED


def _planned(plan: Plan, tries: str, sweep: SweepOptions) -> Iterator[tuple[str, Sequence[str]]]:
    """What --dry-run prints. `tries`: what would be tried."""
    yield "target", [target_in_words(plan.source)]
    yield "workload", traffic_in_words(plan.traffic)
    yield "sweep", [tries, f"{sweep.sweep_share:.1%} of requests within {plan.goodput}"]
    yield "saved in", [str(plan.folder or f"runs/DATE-TIME-sweep-{plan.traffic.workload.name}")]


def past_the_ramp(options: TrafficOptions, limits: RunLimits, ramp: Ramp) -> TrafficOptions:
    """The traffic of each try: warmed up until its load no longer rises, unless --warmup was given, then as long.

    A try that ends after a number of sessions has no time to warm up in.
    """
    if options.warmup_s is not None or limits.duration_s is None or ramp.length_s <= limits.warmup_s:
        return options
    warmup_s = math.ceil(min(ramp.length_s, MOST_WARMUP_S))
    return replace(options, warmup_s=warmup_s, duration_s=limits.duration_s - limits.warmup_s + warmup_s)


def lengthened(options: TrafficOptions, limits: RunLimits, times: int) -> TrafficOptions:
    """The traffic of a try that is measured for so many times as long. `limits`: of a usual one."""
    sessions = None if limits.num_sessions is None else times * limits.num_sessions
    requests = None if limits.num_requests is None else times * limits.num_requests
    options = replace(options, num_sessions=sessions, num_requests=requests)
    if limits.duration_s is None:
        return options
    measured_s = limits.duration_s - limits.warmup_s
    duration_s = limits.warmup_s + times * measured_s
    return replace(options, warmup_s=limits.warmup_s, duration_s=duration_s)


_COLUMNS = (
    Column("requests/s"),
    Column("sessions/s", rank=2),
    Column("were due", rank=3),
    Column("goodput"),
    Column("ttft p99", rank=1),
    Column("run", rank=4, is_text=True),
    Column("", is_text=True, wraps=True, in_note="why"),
)


def print_sweep(console: Console, report: SweepReport) -> None:
    """The points as a table, and the answer."""
    rows = []
    for point in sorted(report.points, key=lambda point: point.request_rate):
        ttft = "-" if point.ttft_p99_ms is None else milliseconds(point.ttft_p99_ms)
        outcome = clean("; ".join(point.why_not)) or "holds"
        rates = f"{point.request_rate:g}", significant(point.session_rate), f"{point.offered_rate:.2f}"
        cells = *rates, f"{point.goodput_share:.1%}", ttft, clean(Path(point.folder).name), outcome
        rows.append(Row(cells, "yellow" if point.why_not else "green"))
    print_table(console, _COLUMNS, rows, gap=2, elsewhere=f"{SWEEP} has all")
    console.print()
    for note in _notes(report):
        console.print(f"note: {note}", style="yellow")
    objectives = ", ".join(f"{metric} {limit_ms:g} ms" for metric, limit_ms in report.objectives.items())
    what = clean(f"{report.required_share:.1%} of requests within {objectives}")
    if report.highest_rate is None:
        console.print(
            f"NO RATE holds {what} (tried: {', '.join(f'{point.request_rate:g}' for point in report.points)})"
        )
        return
    above = "" if report.failed_rate is None else f"; {report.failed_rate:g} does not"
    while_rising = " while their load still rose" if report.ramp_s > report.warmup_s else ""
    sessions = report.highest_rate / report.requests_per_session
    in_sessions = "" if report.requests_per_session == 1 else f" ({significant(sessions)} sessions/s)"
    console.print(
        f"HIGHEST RATE: {report.highest_rate:g} requests/s{in_sessions} hold {what}{while_rising}{above} "
        f"({report.limit})"
    )


def _notes(report: SweepReport) -> Iterator[str]:
    """What a reader should know before believing the rate."""
    if report.cache == CacheMode.AS_IS:
        yield "--cache as-is: each try sent texts that the tries before it had sent, so a prefix cache may know them"
    elif report.cache == CacheMode.WARM:
        yield "--cache warm: the first prompts of each try were sent once before it"
    failed = [point.request_rate for point in report.points if point.why_not and point.is_of_client]
    if failed:
        yield (
            f"from {min(failed):g} requests/s on the client was the limit, not the server, which may hold more: "
            "see why beside the rate"
        )
    if report.ramp_s > report.warmup_s:
        yield (
            f"the load of a rate rises for {report.ramp_s:.0f} s, until as many sessions end as begin, and was measured"
            f" from {report.warmup_s:.0f} s on: what holds may not hold for longer; give --warmup {report.ramp_s:.0f}"
        )
