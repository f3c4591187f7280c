"""A server that outlives the runs that measure it, and remembers their prompts; in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from abatch.cli.measuring.targets import Opened
from abatch.engine.null_server.behaviour import Behaviour
from abatch.engine.null_server.prefill import PrefixCache
from abatch.workloads.targets.prompts import PromptSizer
from abatch.workloads.watching.server_watch import ServerWatch

from support.behaving_target import BehavingTarget


class _Target(BehavingTarget):
    """See `BenchTarget`."""

    model = "behaving"
    takes_ignore_eos = True

    def __init__(self, behaviour: Behaviour, cache: PrefixCache) -> None:
        super().__init__(behaviour, cache)
        self.warnings: list[str] = []

    async def calibrate(self) -> PromptSizer:
        return PromptSizer(is_measured=True)

    async def engine_totals(self) -> None:
        return None

    async def watch_server(self, watch: ServerWatch, origin_s: float) -> None:
        await asyncio.Event().wait()


@dataclass(frozen=True, slots=True)
class BehavingServer:
    """See `Source`. Not new to a run, unless `is_new` says so: its prefix cache has what earlier runs sent."""

    behaviour: Behaviour
    is_new: bool = False
    cache: PrefixCache = field(default_factory=PrefixCache)
    is_virtual: ClassVar[bool] = True

    @asynccontextmanager
    async def open(self, folder: Path) -> AsyncIterator[Opened]:
        """A target of its own for each run: a clock begins again."""
        cache = PrefixCache() if self.is_new else self.cache
        yield Opened(_Target(self.behaviour, cache), "behaving server", is_simulated=True)
