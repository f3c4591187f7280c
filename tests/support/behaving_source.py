"""A whole server in this process and in virtual time, for commands to measure: it behaves as a null server would."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from abatch.cli.measuring.targets import Opened
from abatch.engine.null_server.behaviour import Behaviour
from abatch.workloads.targets.prompts import PromptSizer
from abatch.workloads.targets.target import Call, Reply
from abatch.workloads.watching.server_watch import ServerWatch

from support.behaving_target import BehavingTarget


class WholeTarget(BehavingTarget):
    """With all that a whole run needs. `fails`: of which calls, by their number."""

    model = "known"
    takes_ignore_eos = True

    def __init__(self, behaviour: Behaviour, fails: Callable[[int], bool] = lambda _: False) -> None:
        super().__init__(behaviour)
        self.warnings: list[str] = []
        self.names: list[str] = []
        self._fails = fails

    async def send(self, call: Call, reply: Reply) -> None:
        """See `Target.send`."""
        self.names.append(call.session_id)
        if self._fails(len(self.names) - 1):
            return reply.fail("http_503", "still loading")
        return await super().send(call, reply)

    async def calibrate(self) -> PromptSizer:
        """See `BenchTarget.calibrate`."""
        return PromptSizer(is_measured=True)

    async def engine_totals(self) -> None:
        """It is not one of ours."""
        return

    async def watch_server(self, watch: ServerWatch, origin_s: float) -> None:
        """It has no metrics."""


@dataclass(frozen=True)
class BehavingSource:
    """See `Source`. Each run of it opens the same target."""

    target: WholeTarget
    label: str = "a known server"
    is_virtual: ClassVar[bool] = True
    is_new: ClassVar[bool] = True

    @asynccontextmanager
    async def open(self, _: Path) -> AsyncIterator[Opened]:
        """The target, as it is."""
        yield Opened(self.target, self.label, is_simulated=False)
