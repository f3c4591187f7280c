"""Run a workload against a target and save the run."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..engine.virtual_time import VirtualTimeLoop
from ..reports.run_file import RunConfig, RunWriter, default_folder, provenance, started_now
from ..reports.summary import Summary
from ..workloads.engine_watch import EngineWatch
from ..workloads.load_generator import LoadGenerator, RunOutcome
from .progress import Progress
from .targets import RemoteServer, Source
from .traffic import Traffic

_HEAD_START_S = 0.05
"""Between the configuration's going to disk and the run's beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything a run needs, checked before anything is started. `options` are saved with it."""

    traffic: Traffic
    source: Source
    folder: Path | None
    options: dict[str, Any]


def run(plan: Plan, progress: Progress) -> tuple[Summary, Path]:
    """Do a run, in real or in virtual time; its summary and its folder.

    Raises:
        AbatchError: the target cannot be measured.
        KeyboardInterrupt: it was interrupted before it had begun. Later, the part that was measured is the result.
    """
    with asyncio.Runner(loop_factory=VirtualTimeLoop if plan.source.is_virtual else None) as runner:
        return runner.run(_measure(plan, progress))


async def _measure(plan: Plan, progress: Progress) -> tuple[Summary, Path]:
    limits, source = plan.traffic.limits, plan.source
    async with AsyncExitStack() as stack:
        if isinstance(source, RemoteServer):
            opened = await stack.enter_async_context(source.open())  # before there is a folder
        writer = RunWriter(plan.folder or default_folder(plan.traffic.workload.name), _run_config(plan))
        with _abandoned_on_error(writer):
            if not isinstance(source, RemoteServer):
                if not source.is_virtual:
                    progress.say(f"loading {source.config.model}")
                opened = await stack.enter_async_context(source.open(writer.folder))
            target = opened.target
            sizer = await target.calibrate()
        config = writer.config
        config.model, config.warnings = target.model, target.warnings
        config.target, config.simulated = opened.label, opened.is_simulated
        config.origin_s = asyncio.get_running_loop().time() + _HEAD_START_S
        writer.start()
        with progress.showing(writer, limits, is_virtual=source.is_virtual) as shown:
            generator = LoadGenerator(
                plan.traffic.workload,
                target,
                limits,
                seed=plan.traffic.seed,
                sizer=sizer,
                on_result=shown.add,
            )
            shown.generator = generator
            watch = EngineWatch(target, limits)
            with _stopping_on_signals(generator) as interrupted:
                outcome = await _replay(generator, watch, writer)
            if (trace := plan.traffic.trace) is not None and trace.num_skipped:
                config.warnings.append(f"{trace.num_skipped} malformed rows of {trace.path.name} were left out")
            summary = writer.finish(
                max(outcome.sending_s - limits.warmup_s, 0.0),
                is_complete=not interrupted.is_set(),
                abandoned_turns=generator.counts.turns_abandoned,
                engine=await watch.totals(),
            )
    return summary, writer.folder


async def _replay(generator: LoadGenerator, watch: EngineWatch, writer: RunWriter) -> RunOutcome:
    origin_s = writer.config.origin_s
    watching = asyncio.create_task(watch.run(origin_s))
    try:
        return await generator.run(origin_s)
    except BaseException:
        writer.finish(max(generator.elapsed_s - writer.config.warmup_s, 0.0), is_complete=False)
        raise
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


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
        options=plan.options,
        provenance=provenance(),
    )


@contextmanager
def _stopping_on_signals(generator: LoadGenerator) -> Iterator[asyncio.Event]:
    """End the run on Ctrl-C or SIGTERM, with everything up to then saved."""
    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        interrupted.set()
        generator.stop()

    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, stop)
    try:
        yield interrupted
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
