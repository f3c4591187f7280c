"""abatch from Python: measure, load, judge and compare runs. `from abatch import bench, compare, load_run`."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from ..engine.errors import AbatchError, ConfigurationError
from ..reports.comparison.comparable import refuse_incomparable
from ..reports.comparison.comparison import DEFAULT_EFFECT, Comparison
from ..reports.comparison.comparison import compare as compare_measurements
from ..reports.comparison.difference import Floor
from .comparing.saved_targets import names_of
from .measuring.observer import LiveRun, SilentObserver
from .measuring.plan import Plan
from .measuring.run import Run
from .measuring.running import run as measure
from .naming.target import find_target
from .options.engine import EngineOptions
from .options.plan import plan_run
from .options.report import ReportOptions
from .options.target import TargetOptions
from .options.traffic import TrafficOptions

__all__ = [
    "AbatchError",
    "ConfigurationError",
    "EngineOptions",
    "Floor",
    "ReportOptions",
    "Run",
    "TargetOptions",
    "TrafficOptions",
    "bench",
    "compare",
    "load_run",
]

_Options = TypeVar("_Options", TargetOptions, TrafficOptions, EngineOptions)


def bench(
    *,
    url: str | None = None,
    model: str | None = None,
    device: str | None = None,
    workload: str | None = None,
    duration_s: float | None = None,
    num_sessions: int | None = None,
    num_requests: int | None = None,
    concurrency: int | None = None,
    request_rate: float | None = None,
    session_rate: float | None = None,
    seed: int | None = None,
    workers: int = 1,
    folder: str | Path | None = None,
    target: TargetOptions | None = None,
    traffic: TrafficOptions | None = None,
    engine: EngineOptions | None = None,
    report: ReportOptions | None = None,
) -> Run:
    """Run a workload against a server and save the run, as `abatch bench` does.

    Without `url`, our own engine is measured: in virtual time on a simulated device, else behind HTTP on a free port.
    The keywords up to `seed` are the options that are needed most. All others are fields of the four option objects,
    by the names that `abatch bench --help` gives them; a keyword counts more than a field.

    Args:
        url: Base URL of an OpenAI-compatible server; without a scheme http is meant.
        model: The name to ask the server at `url` for, or the model to serve. None: its first; `tiny`; on a simulated
            device `llama-3.1-8b`.
        device: Of our own engine: `cpu`, `cuda`, `simulated:h100`, ...
        workload: A preset, or several with commas. None: `mixed`.
        duration_s: Seconds of sending. None: 60, or until `num_sessions`, `num_requests` or those of a trace are over.
        num_sessions: Sessions to start.
        num_requests: Requests to send; sessions end where they are.
        concurrency: Live sessions, pauses included.
        request_rate: Requests per second, all turns counted.
        session_rate: Sessions started per second, instead of `request_rate`.
        seed: Same seed, same traffic. None: 0.
        workers: Sender processes.
        folder: Where to save the run. None: runs/DATE-TIME-WORKLOAD in the current folder.
        target: What is measured, and how it is reached.
        traffic: What is sent.
        engine: How our own engine serves.
        report: What the summary shows.

    Returns:
        The saved run. One that was interrupted has `summary.is_complete` False.

    Raises:
        ConfigurationError: a value is wrong, an option does not apply, or the engine is not installed.
        AbatchError: the target cannot be measured.
        KeyboardInterrupt: the run was interrupted before it began.
    """
    target = find_target(_with(target or TargetOptions(), url=url, model=model))
    traffic = _with(
        traffic or TrafficOptions(),
        workload=workload,
        duration_s=duration_s,
        num_sessions=num_sessions,
        num_requests=num_requests,
        concurrency=concurrency,
        request_rate=request_rate,
        session_rate=session_rate,
        seed=seed,
    )
    engine = _with(engine or EngineOptions(), device=device)
    into = None if folder is None else Path(folder)
    plan = plan_run(target, traffic, engine, report or ReportOptions(), workers=workers, folder=into)
    return _measure(plan)


def load_run(folder: str | Path) -> Run:
    """Open a run folder that `bench` or `abatch bench` saved, whole or interrupted.

    Raises:
        ConfigurationError: it is not a run folder, or it is damaged.
    """
    return Run(Path(folder))


def compare(first: Run, *others: Run, floor: Floor | None = None, effect: float = DEFAULT_EFFECT) -> Comparison:
    """Compare runs with the first: which differences are real.

    Each target's `verdict` says it in a sentence, its `differences` in numbers (milliseconds, requests per second).

    Args:
        first: The run that the others are compared with.
        others: At least one. In the result they go by the names of their folders.
        floor: Changes to ignore. None: below 3%, or below 0.1 ms.
        effect: Smallest p99 change worth detecting, as a fraction: the result says how many requests that takes.

    Raises:
        ConfigurationError: the runs cannot be compared (other workloads, a real device with a simulated one), or there
            is only one.
    """
    if not others:
        raise ConfigurationError("compare needs two runs at least")
    runs = (first, *others)
    names = names_of([run.folder for run in runs])
    refuse_incomparable([run.config for run in runs], names)
    measurements = {name: run.measurement for name, run in zip(names, runs, strict=True)}
    return compare_measurements(measurements, floor=floor, effect=effect)


def _with(options: _Options, **fields: Any) -> _Options:
    """The options with those fields replaced that are given."""
    return replace(options, **{name: value for name, value in fields.items() if value is not None})


def _measure(plan: Plan) -> Run:
    """Measure on an event loop of our own: where one is running already, as in a notebook, in another thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return measure(plan)
    with ThreadPoolExecutor(1) as executor:
        interrupting = _Interrupting()
        running = executor.submit(measure, plan, interrupting)
        try:
            return running.result()
        except KeyboardInterrupt:  # meant for the run, and only this thread is told
            interrupting.interrupt()
            return running.result()


class _Interrupting(SilentObserver):
    """Ends a run that goes on in another thread; one that has not begun yet, as soon as it does."""

    def __init__(self) -> None:
        self._run: LiveRun | None = None
        self._is_wanted = False

    def watching(self, run: LiveRun) -> AbstractContextManager[object]:
        """See `Observer`."""
        self._run = run
        if self._is_wanted:
            run.interrupt()
        return nullcontext()

    def interrupt(self) -> None:
        """To be called from another thread than the run's."""
        self._is_wanted = True
        if self._run is not None:
            self._run.interrupt()
