"""Run a workload against a target and save the run."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...engine.hosting.precise_loop import new_precise_loop
from ...engine.hosting.virtual_time import VirtualTimeLoop
from ...reports.run.config import RunConfig, provenance, started_now
from ...reports.run.folder import RunWriter, default_folder
from ...reports.summary.client import ClientFloor
from ...reports.summary.summary import Summary
from ...workloads.load_generator import LoadGenerator, RunCounts, RunOutcome
from ...workloads.result import Result
from ...workloads.targets.engine_watch import EngineWatch
from ...workloads.targets.http_target import HttpTarget
from ...workloads.targets.prompts import PromptSizer
from ...workloads.targets.server_url import hide_credentials, is_this_machine
from ...workloads.targets.target import BenchTarget
from ...workloads.watching.client_watch import ClientAudit, ClientWatch
from ...workloads.watching.gpu_watch import GpuWatch
from ...workloads.watching.server_watch import ServerWatch
from ..options.report_options import ReportOptions
from ..options.traffic import Traffic
from .progress import Progress
from .sender import Sender
from .targets import Opened, OwnServer, RemoteServer, Source
from .workers import Workers, started_workers

SERVER_METRICS_S = 1.0
"""From one look at the server's metrics to the next, where nobody asks for another time."""
_MANY = 10_000
"""Requests: from here on a person would wonder why nothing happens while they are analysed."""
_HEAD_START_S = 0.05
"""Between the configuration's going to disk and the run's beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything a run needs, checked before anything is started. `options` are saved with it.

    Attributes:
        report: What its summary is to say.
        workers: Processes that send it between them; 1 is this process alone.
        floor: What is known of the client itself; None in virtual time, and while that is being measured.
        server_metrics_s: Seconds from one look at the server's metrics to the next; None for none at all.
        metrics_url: Where they are, if not at the target's own /metrics.
    """

    traffic: Traffic
    source: Source
    folder: Path | None
    options: dict[str, Any]
    report: ReportOptions = field(default_factory=ReportOptions)
    workers: int = 1
    floor: ClientFloor | None = None
    server_metrics_s: float | None = None
    metrics_url: str | None = None


def run(plan: Plan, progress: Progress) -> tuple[Summary, Path]:
    """Do a run, in real or in virtual time; its summary and its folder.

    Raises:
        AbatchError: the target cannot be measured.
        KeyboardInterrupt: it was interrupted before it had begun. Later, the part that was measured is the result.
    """
    with asyncio.Runner(loop_factory=VirtualTimeLoop if plan.source.is_virtual else new_precise_loop) as runner:
        return runner.run(_measure(plan, progress))


async def _measure(plan: Plan, progress: Progress) -> tuple[Summary, Path]:
    limits, source = plan.traffic.limits, plan.source
    async with AsyncExitStack() as stack:
        if isinstance(source, RemoteServer):
            opened = await stack.enter_async_context(source.open())  # before there is a folder
        writer = RunWriter(plan.folder or default_folder(plan.traffic.workload.name), _run_config(plan))
        with _abandoned_on_error(writer):
            if not isinstance(source, RemoteServer):
                if isinstance(source, OwnServer):
                    progress.say(f"loading {source.config.model}")
                opened = await stack.enter_async_context(source.open(writer.folder))
            target = opened.target
            sizer = await target.calibrate()
        config = writer.config
        config.model, config.warnings = target.model, target.warnings
        config.target, config.simulated = opened.label, opened.is_simulated
        writer.start(plan.workers)
        shown = stack.enter_context(progress.showing(writer, limits, is_virtual=source.is_virtual))
        sender: Sender
        if plan.workers == 1:
            sender = _ThisProcess(plan, target, sizer, shown.add)
        else:
            sender = await stack.enter_async_context(_workers(plan, opened, sizer, writer))
        config.origin_s = asyncio.get_running_loop().time() + _HEAD_START_S
        writer.save_config()
        shown.sender = sender
        watch = EngineWatch(target, limits)
        with _stopping_on_signals(sender) as interrupted:
            outcome = await _replay(sender, watch, _watching_server(plan, opened, writer), writer)
        if sender.num_skipped and plan.traffic.trace is not None:
            name = plan.traffic.trace.path.name
            config.warnings.append(f"{sender.num_skipped} malformed rows of {name} were left out")
        if (num_requests := writer.recorder.totals.requests) >= _MANY:
            progress.say(f"analysing {num_requests:,} requests")
        summary = writer.finish(
            max(outcome.sending_s - limits.warmup_s, 0.0),
            is_complete=not interrupted.is_set(),
            abandoned_turns=sender.counts.turns_abandoned,
            engine=await watch.totals(),
            client=sender.audit(),
            floor=plan.floor,
        )
    return summary, writer.folder


def _workers(plan: Plan, opened: Opened, sizer: PromptSizer, writer: RunWriter) -> AbstractAsyncContextManager[Workers]:
    assert isinstance(opened.target, HttpTarget)
    assert opened.connection is not None
    return started_workers(plan.workers, plan.traffic, opened.connection, opened.target, sizer, writer)


class _ThisProcess:
    """Sends all of it, and watches itself. See `Sender`."""

    def __init__(
        self, plan: Plan, target: BenchTarget, sizer: PromptSizer, on_result: Callable[[Result], None]
    ) -> None:
        traffic = plan.traffic
        self._traffic = traffic
        self._watch = None if plan.source.is_virtual else ClientWatch()
        self._generator = LoadGenerator(
            traffic.workload, target, traffic.limits, seed=traffic.seed, sizer=sizer, on_result=on_result
        )
        self.stop = self._generator.stop

    @property
    def counts(self) -> RunCounts:
        return self._generator.counts

    @property
    def elapsed_s(self) -> float:
        return self._generator.elapsed_s

    @property
    def num_skipped(self) -> int:
        return 0 if self._traffic.trace is None else self._traffic.trace.num_skipped

    async def run(self, origin_s: float) -> RunOutcome:
        if self._watch is None:
            return await self._generator.run(origin_s)
        limits = self._traffic.limits
        watching = asyncio.create_task(self._watch.run(limits.warmup_s, limits.duration_s, origin_s))
        try:
            return await self._generator.run(origin_s)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    def audit(self) -> ClientAudit | None:
        return None if self._watch is None else self._watch.audit()


async def _replay(
    sender: Sender, watch: EngineWatch, watching_server: AbstractAsyncContextManager[None], writer: RunWriter
) -> RunOutcome:
    origin_s = writer.config.origin_s
    watching = asyncio.create_task(watch.run(origin_s))
    try:
        async with watching_server:
            return await sender.run(origin_s)
    except BaseException:
        writer.finish(max(sender.elapsed_s - writer.config.warmup_s, 0.0), is_complete=False)
        raise
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


@asynccontextmanager
async def _watching_server(plan: Plan, opened: Opened, writer: RunWriter) -> AsyncIterator[None]:
    """Note what the server says of itself until the context is left. Whatever becomes of that, the run goes on."""
    if plan.server_metrics_s is None:
        yield
        return
    warnings = writer.config.warnings
    with ExitStack() as stack:
        gpu = None
        if opened.connection is not None and not opened.is_simulated and is_this_machine(opened.connection.url):
            gpu = stack.enter_context(GpuWatch(plan.server_metrics_s))
        watch = ServerWatch(writer.add_server_sample, interval_s=plan.server_metrics_s, url=plan.metrics_url, gpu=gpu)
        watching = asyncio.create_task(opened.target.watch_server(watch, writer.config.origin_s))
        try:
            yield
        finally:
            watching.cancel()
            (outcome,) = await asyncio.gather(watching, return_exceptions=True)
            if isinstance(outcome, Exception):
                warnings.append(f"the server's metrics were kept in part only: {type(outcome).__name__}: {outcome}")
            elif plan.metrics_url is not None and not watch.has_seen:
                warnings.append(f"--metrics-url {hide_credentials(plan.metrics_url)} shows no metrics that are known")


@contextmanager
def _abandoned_on_error(writer: RunWriter) -> Iterator[None]:
    """Leave no run behind where none began."""
    try:
        yield
    except BaseException:
        writer.abandon()
        raise


def _run_config(plan: Plan) -> RunConfig:
    traffic = plan.traffic
    return RunConfig(
        started_at=started_now(),
        workload=traffic.workload.name,
        verdict_class=traffic.workload.verdict_class,
        seed=traffic.seed,
        warmup_s=traffic.limits.warmup_s,
        duration_s=traffic.limits.duration_s,
        percentiles=list(plan.report.percentiles),
        goodput=plan.report.goodput,
        steady_state=plan.report.steady_state,
        traffic=traffic.values,
        options=plan.options,
        provenance=provenance(),
    )


@contextmanager
def _stopping_on_signals(sender: Sender) -> Iterator[asyncio.Event]:
    """End the run on Ctrl-C or SIGTERM, with everything up to then saved."""
    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        interrupted.set()
        sender.stop()

    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, stop)
    try:
        yield interrupted
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
