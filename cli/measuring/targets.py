"""What a command can measure: a server at a URL, one of ours, the engine on a simulated device, or the null server."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ...engine.config import EngineConfig
from ...engine.errors import AbatchError
from ...engine.loop.step_log import StepLog
from ...reports.run.folder import SERVER_LOG, STEPS
from ...workloads.targets.http_connection import Connection
from ...workloads.targets.patience import silently
from ...workloads.targets.wire.names import AUTO

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from ...workloads.targets.http_target import HttpTarget
    from ...workloads.targets.target import BenchTarget

_ABATCH = (sys.executable, "-P", "-m", "abatch.cli")
"""-P: a file in the user's folder must not take the place of a module of the same name."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A target and what a run says of it. `connection`: how other processes reach it; None where they cannot."""

    target: BenchTarget
    label: str
    is_simulated: bool
    connection: Connection | None = None


@asynccontextmanager
async def _connected(
    connection: Connection, model: str | None = None, say: Callable[[str], object] = silently
) -> AsyncIterator[HttpTarget]:
    """A server, with its engine's metrics if it is one of ours, until the context is left."""
    target = await connection.open(model, say)
    try:
        await target.engine_totals()
        yield target
    finally:
        await target.close()


def _launched(
    command: Callable[[list[str]], list[str]], log: Path, startup_timeout_s: float
) -> AbstractAsyncContextManager[str]:
    from ...engine.hosting.launch import launched_server  # what is only named needs no client, and no engine below

    return launched_server(command, log, startup_timeout_s=startup_timeout_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteServer:
    """Any OpenAI-compatible server."""

    connection: Connection
    model: str | None
    """None: its first."""
    further_models: Sequence[str] = ()
    """That sessions talk to besides."""
    tokenizer: str | None = None
    """The server's, for prompts of exact lengths."""
    is_virtual: ClassVar[bool] = False
    is_new: ClassVar[bool] = False

    @asynccontextmanager
    async def open(self, say: Callable[[str], object] = silently) -> AsyncIterator[Opened]:
        """Connect. `say`: is told in a line what is waited for."""
        async with _connected(self.connection, self.model, say) as target:
            target.tokenizer, target.further_models = self.tokenizer, self.further_models
            is_simulated = target.engine is not None and target.engine.is_simulated
            yield Opened(target, target.shown_url, is_simulated, self.connection)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnServer:
    """`abatch serve` on a free loopback port, measured through HTTP."""

    config: EngineConfig
    arguments: Sequence[str]
    """The options of `abatch serve` that its engine is asked for with."""
    timeout_s: float
    startup_timeout_s: float
    has_step_log: bool
    tells_sessions: bool = True
    ignores_eos: bool = True
    api: str = AUTO
    note: str = ""
    """What sets it apart from other engines, in words."""
    is_virtual: ClassVar[bool] = False
    is_new: ClassVar[bool] = True

    @asynccontextmanager
    async def open(self, folder: Path) -> AsyncIterator[Opened]:
        """Start it, connect, and stop it in the end."""

        def command(listen_options: list[str]) -> list[str]:
            options = [*listen_options, "--seed", str(self.config.seed), *self.arguments]
            if self.has_step_log:
                options += ["--step-log", str(folder / STEPS)]
            return [*_ABATCH, "serve", f"--model={self.config.model}", *options]

        config = self.config
        async with _launched(command, folder / SERVER_LOG, self.startup_timeout_s) as url:
            connection = Connection(
                url=url,
                timeout_s=self.timeout_s,
                tells_sessions=self.tells_sessions,
                ignores_eos=self.ignores_eos,
                api=self.api,
            )
            async with _connected(connection) as target:
                label = f"abatch serve, {config.batching} batching"
                if config.batching == "async" and target.engine is not None and target.engine.steps_ahead == 0:
                    label += " (runs as continuous on CPU)"
                if config.is_simulated:
                    label += f", {config.device}"
                if self.note:
                    label += f", {self.note}"
                yield Opened(target, label, config.is_simulated, connection)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedEngine:
    """The engine on a simulated device, in this process and in virtual time."""

    config: EngineConfig
    timeout_s: float
    has_step_log: bool
    tells_sessions: bool = True
    note: str = ""
    """What sets it apart from other engines, in words."""
    is_virtual: ClassVar[bool] = True
    is_new: ClassVar[bool] = True

    @asynccontextmanager
    async def open(self, folder: Path) -> AsyncIterator[Opened]:
        """Build it and keep it stepping."""
        from ...engine.assembly.build import simulated_host
        from ...engine.hosting.virtual_engine import build_virtual_engine
        from ...workloads.targets.engine_target import EngineTarget

        config = self.config
        with ExitStack() as files:
            on_step = files.enter_context(closing(StepLog(folder / STEPS))).add if self.has_step_log else None
            virtual = build_virtual_engine(config, on_step=on_step)
            host = simulated_host(config)
            label = f"abatch, {config.batching} batching, {virtual.ready.device}, host overhead {host}, per step"
            if host.request_s:
                label += f" (and {host.request_s * 1e3:.3g} ms per request)"
            if self.note:
                label += f", {self.note}"
            target = EngineTarget(virtual, config.model, timeout_s=self.timeout_s, tells_sessions=self.tells_sessions)
            try:
                async with asyncio.TaskGroup() as tasks:  # so that a bug in the engine ends the run with its traceback
                    stepping = tasks.create_task(virtual.run())
                    yield Opened(target, label, is_simulated=True)
                    stepping.cancel()
            except* (
                AbatchError
            ) as group:  # a user's mistake found late, such as a bad row of a trace, is raised as it is
                raise group.exceptions[0] from None


@dataclass(frozen=True, slots=True, kw_only=True)
class NullServer:
    """`abatch null-server` on a free loopback port: what the client itself adds is measured against its log."""

    ttft_ms: float
    itl_ms: float
    log: Path
    """What it really did; complete once the target has been left."""
    timeout_s: float = 60.0
    api: str = AUTO
    is_virtual: ClassVar[bool] = False
    is_new: ClassVar[bool] = True

    @asynccontextmanager
    async def open(self, folder: Path) -> AsyncIterator[Opened]:
        """Start it, connect, and stop it in the end."""

        def command(listen_options: list[str]) -> list[str]:
            options = ["--ttft", str(self.ttft_ms), "--itl", str(self.itl_ms), "--log", str(self.log)]
            return [*_ABATCH, "null-server", *listen_options, *options]

        async with _launched(command, folder / SERVER_LOG, 60.0) as url:
            connection = Connection(url=url, timeout_s=self.timeout_s, api=self.api)
            async with _connected(connection) as target:
                yield Opened(target, "abatch null-server", is_simulated=False, connection=connection)


Source = RemoteServer | OwnServer | SimulatedEngine | NullServer
"""Where a target comes from.

`is_virtual`: it runs on an event loop of virtual time. `is_new`: it is started for each run, so that no cache of it has
seen anything. `open`: the target, until the context is left.
"""
