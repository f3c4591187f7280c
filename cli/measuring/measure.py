"""Run a workload against a target and save the run."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    ExitStack,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from dataclasses import replace

from ...engine.errors import ConfigurationError
from ...engine.hosting.descriptors import most_descriptors
from ...engine.hosting.precise_loop import new_precise_loop
from ...engine.hosting.virtual_time import VirtualTimeLoop
from ...reports.recording.idle_model import IdleModel
from ...reports.run.folder import default_folder
from ...reports.run.writer import NotSavedError, RunWriter
from ...reports.summary.cache import CacheMode
from ...reports.traffic.extent import summarise_unsent
from ...workloads.load_generator import LoadGenerator, RunCounts, RunOutcome
from ...workloads.result import Result
from ...workloads.targets.engine_watch import EngineWatch
from ...workloads.targets.http_target import HttpTarget
from ...workloads.targets.prompts import PromptSizer
from ...workloads.targets.server_url import hide_credentials, is_this_machine
from ...workloads.targets.target import BenchTarget
from ...workloads.targets.wire.names import CHAT
from ...workloads.watching.client_audit import ClientAudit
from ...workloads.watching.client_watch import ClientWatch
from ...workloads.watching.gpu_watch import GpuWatch
from ...workloads.watching.server_watch import ServerWatch
from .idle_probe import idle_model
from .observer import SILENT, LiveRun, Observer
from .plan import Plan
from .priming import prime
from .run import BrokenOffError, Run
from .sender import Sender
from .targets import Opened, OwnServer, RemoteServer
from .workers import Workers, started_workers

_MANY = 10_000
"""Requests: from here on a person would wonder why nothing happens while they are analysed."""
_HEAD_START_S = 0.05
"""Between the configuration's going to disk and the run's beginning."""


def run(plan: Plan, observer: Observer = SILENT, on_ready: Callable[[], None] = lambda: None) -> Run:
    """Do a run, in real or in virtual time, and save it.

    Args:
        plan: What to measure, and how.
        observer: Is told how it goes.
        on_ready: Called once the target is there, before anything is sent to it.

    Raises:
        AbatchError: the target cannot be measured.
        BrokenOffError: a row of the trace could not be read, after requests had been sent.
        NotSavedError: it was measured, but the disk is full or gone. A run ends where its results can be kept no more.
        KeyboardInterrupt: it was interrupted before it had begun. Later, the part that was measured is the result.
    """
    new_loop = VirtualTimeLoop if plan.source.is_virtual else new_precise_loop
    with most_descriptors(), asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(_measure(plan, observer, on_ready))


async def _measure(plan: Plan, observer: Observer, on_ready: Callable[[], None]) -> Run:
    plan = replace(plan, traffic=plan.traffic.salted(server_is_new=plan.source.is_new))
    limits, source = plan.traffic.limits, plan.source
    async with AsyncExitStack() as stack:
        if isinstance(source, RemoteServer):
            opened = await stack.enter_async_context(source.open(observer.say))  # before there is a folder
        writer = RunWriter(plan.folder or default_folder(plan.traffic.workload.name), plan.run_config())
        with _abandoned_on_error(writer):
            if not isinstance(source, RemoteServer):
                if isinstance(source, OwnServer):
                    observer.say(f"loading {source.config.model}")
                opened = await stack.enter_async_context(source.open(writer.folder))
            on_ready()
            whole = plan.traffic.extent()
            target = opened.target
            sizer = await target.calibrate()
            config = writer.config
            models = plan.traffic.recipe.models
            config.model, config.warnings = target.model if models is None else models.label, target.warnings
            config.target, config.simulated = opened.label, opened.is_simulated
            if isinstance(target, HttpTarget):
                config.api = target.api
                if config.api != CHAT:
                    config.target += f" ({config.api} API)"
            config.has_own_lengths = not target.takes_ignore_eos
            if plan.idle_probe and not source.is_virtual:
                observer.say("probing the idle server")
            config.idle = await _probe(plan, target, sizer)
            if plan.traffic.recipe.cache is CacheMode.WARM:
                observer.say("priming: the first prompts of the sessions are sent once")
                config.priming = await prime(plan.traffic, target, sizer)
            writer.start(plan.workers)
            sender: Sender
            if plan.workers == 1:
                sender = _ThisProcess(plan, target, sizer, writer.add)
            else:
                sender = await stack.enter_async_context(_workers(plan, opened, sizer, writer))
            interruption = _Interruption(sender)
            stack.enter_context(
                observer.watching(LiveRun(sender, writer, limits, source.is_virtual, interruption.from_any_thread))
            )
            config.origin_s = asyncio.get_running_loop().time() + _HEAD_START_S
            writer.save_config()
        watch = EngineWatch(target, limits)
        writer.on_problem = sender.stop
        with interruption.on_signals():
            outcome = await _replay(sender, watch, _watching_server(plan, opened, writer), writer)
        if sender.num_skipped and plan.traffic.trace is not None:
            name = plan.traffic.trace.path.name
            config.warnings.append(f"{sender.num_skipped} malformed rows of {name} were left out")
        engine = await watch.totals()
        if watch.is_lost:
            config.warnings.append("the engine's own account is missing: /metrics could not be read at the end")
        if (num_requests := writer.recorder.totals.requests) >= _MANY:
            observer.say(f"analysing {num_requests:,} requests")
        counts = sender.counts
        summary = writer.finish(
            max(outcome.sending_s - limits.warmup_s, 0.0),
            is_complete=not interruption.has_come,
            abandoned_turns=counts.turns_abandoned,
            engine=engine,
            client=sender.audit(),
            floor=plan.floor,
            unsent=summarise_unsent(
                whole,
                limits,
                begun=counts.sessions_started + counts.sessions_dropped,
                abandoned_turns=counts.turns_abandoned,
                totals=writer.recorder.totals,
            ),
        )
    return Run(writer.folder, summary)


async def _probe(plan: Plan, target: BenchTarget, sizer: PromptSizer) -> IdleModel | None:
    """What requests take on the idle server; a problem becomes a warning of the target."""
    found, problem = await idle_model(
        target,
        sizer,
        plan.traffic,
        plan.idle_probe,
        plan.metrics_url,
        is_virtual=plan.source.is_virtual,
        asks_server=plan.server_metrics_s is not None,
    )
    if problem:
        target.warnings.append(problem)
    return found


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
            traffic.workload,
            target,
            traffic.limits,
            seed=traffic.seed,
            sizer=sizer,
            on_result=on_result,
            text_salt=traffic.text_salt,
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
    except BaseException as error:
        summary = None
        with suppress(NotSavedError):  # the first error is the one that is told
            summary = writer.finish(max(sender.elapsed_s - writer.config.warmup_s, 0.0), is_complete=False)
        was_sent = summary is not None and summary.requests + summary.warmup_requests > 0
        if isinstance(error, ConfigurationError) and summary is not None and was_sent:
            raise BrokenOffError(f"{error}; the run ended there, and is saved in {writer.folder}", summary) from error
        raise
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


@asynccontextmanager
async def _watching_server(plan: Plan, opened: Opened, writer: RunWriter) -> AsyncIterator[None]:
    """Record what the server says about itself until the context is left. If that fails, the run goes on."""
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
                warnings.append(f"server metrics are incomplete: {type(outcome).__name__}: {outcome}")
            elif plan.metrics_url is not None and not watch.has_seen:
                warnings.append(f"--metrics-url {hide_credentials(plan.metrics_url)} has no known metrics")


@contextmanager
def _abandoned_on_error(writer: RunWriter) -> Iterator[None]:
    """Leave no run folder behind if the run never began."""
    try:
        yield
    except BaseException:
        writer.abandon()
        raise


class _Interruption:
    """Ends a run before its time, with everything up to then saved. `has_come`: it did."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._loop = asyncio.get_running_loop()
        self.has_come = False

    def from_any_thread(self) -> None:
        with suppress(RuntimeError):  # the loop is closed: the run is over
            self._loop.call_soon_threadsafe(self._come)

    def _come(self) -> None:
        self.has_come = True
        self._sender.stop()

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """On Ctrl-C, SIGTERM, or where the terminal was closed (SIGHUP), unless nohup says otherwise.

        Only the main thread is told of signals. In a notebook a run has a thread of its own.
        """
        is_main = threading.current_thread() is threading.main_thread()
        numbers = [signal.SIGINT, signal.SIGTERM] if is_main else []
        if is_main and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        for number in numbers:
            self._loop.add_signal_handler(number, self._come)
        try:
            yield
        finally:
            for number in numbers:
                self._loop.remove_signal_handler(number)
