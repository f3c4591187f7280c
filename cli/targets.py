"""What a command can measure: a server at a URL, one of our own, or the engine on a simulated device."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ..engine.build import build_simulated_engine, simulated_host
from ..engine.clock import SteppedClock
from ..engine.config import EngineConfig
from ..engine.launch import launched_server
from ..engine.step_log import StepLog
from ..engine.virtual_engine import VirtualEngine
from ..reports.run_file import SERVER_LOG, STEPS
from ..workloads.engine_target import EngineTarget
from ..workloads.http_target import HttpTarget
from ..workloads.target import BenchTarget
from .options import engine_arguments


@dataclass(frozen=True, slots=True)
class Opened:
    """A target and what a run says of it."""

    target: BenchTarget
    label: str
    is_simulated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteServer:
    """Any OpenAI-compatible server."""

    url: str
    model: str | None
    api_key: str | None
    headers: dict[str, str]
    timeout_s: float
    is_virtual: ClassVar[bool] = False

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Opened]:
        """Connect."""
        target = await HttpTarget.connect(
            self.url, model=self.model, api_key=self.api_key, headers=self.headers, timeout_s=self.timeout_s
        )
        try:
            await target.engine_totals()
            yield Opened(target, target.shown_url, target.engine is not None and target.engine.is_simulated)
        finally:
            await target.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnServer:
    """`abatch serve` on a free loopback port, measured through HTTP."""

    config: EngineConfig
    values: dict[str, Any]
    timeout_s: float
    startup_timeout_s: float
    has_step_log: bool
    is_virtual: ClassVar[bool] = False

    @asynccontextmanager
    async def open(self, folder: Path) -> AsyncIterator[Opened]:
        """Start it, connect, and stop it in the end."""

        def command(listen_options: list[str]) -> list[str]:
            # -P: a file in the user's folder must not take the place of a module of the same name.
            python = (sys.executable, "-P", "-m", "abatch.cli")
            options = [*listen_options, "--seed", str(self.config.seed), *engine_arguments(self.values)]
            if self.has_step_log:
                options += ["--step-log", str(folder / STEPS)]
            return [*python, "serve", *options, "--", self.config.model]

        async with launched_server(command, folder / SERVER_LOG, startup_timeout_s=self.startup_timeout_s) as url:
            target = await HttpTarget.connect(url, model=None, api_key=None, headers={}, timeout_s=self.timeout_s)
            try:
                await target.engine_totals()
                label = f"abatch serve, {self.config.batching} batching"
                if self.config.batching == "async" and target.engine is not None and target.engine.steps_ahead == 0:
                    label += " (on a CPU as continuous)"
                is_simulated = self.config.is_simulated
                yield Opened(target, f"{label}, {self.config.device}" if is_simulated else label, is_simulated)
            finally:
                await target.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedEngine:
    """The engine on a simulated device, in this process and in virtual time."""

    config: EngineConfig
    timeout_s: float
    has_step_log: bool
    is_virtual: ClassVar[bool] = True

    @asynccontextmanager
    async def open(self, folder: Path) -> AsyncIterator[Opened]:
        """Build it and keep it stepping."""
        config, clock, host = self.config, SteppedClock(), simulated_host(self.config)
        with ExitStack() as files:
            on_step = files.enter_context(StepLog(folder / STEPS)).add if self.has_step_log else None
            engine, ready = build_simulated_engine(config, clock, host, on_step=on_step)
            virtual = VirtualEngine(engine, clock, ready, max_queue=config.max_queue)
            label = f"abatch, {config.batching} batching, {ready.device}, host {host} a step"
            async with asyncio.TaskGroup() as tasks:  # so that a bug in the engine ends the run with its traceback
                stepping = tasks.create_task(virtual.run())
                target = EngineTarget(virtual, config.model, timeout_s=self.timeout_s)
                yield Opened(target, label, is_simulated=True)
                stepping.cancel()


Source = RemoteServer | OwnServer | SimulatedEngine
"""Where a target comes from.

`is_virtual`: it runs on an event loop of virtual time. `open`: the target, until the context is left.
"""
