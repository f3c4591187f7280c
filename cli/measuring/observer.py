"""Who is told how a run goes: an observer looks on, and results do not pass through it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ...reports.run.writer import RunWriter
    from ...workloads.run_limits import RunLimits
    from .sender import Sender


@dataclass(frozen=True, slots=True)
class LiveRun:
    """A run that is under way.

    Attributes:
        sender: How far it has got.
        writer: What was recorded so far; `writer.watchers` are called after each result.
        is_virtual: It runs in virtual time: no timer of its event loop follows the real clock.
        interrupt: Ends it now, as Ctrl-C does; to be called from any thread.
    """

    sender: Sender
    writer: RunWriter
    limits: RunLimits
    is_virtual: bool
    interrupt: Callable[[], object]


class Observer(Protocol):
    """Is told how a run goes."""

    def say(self, text: str) -> None:
        """Something has come to pass that a person may want to know: one line."""

    def watching(self, run: LiveRun) -> AbstractContextManager[object]:
        """Entered when a run begins, left when it ends."""


class SilentObserver:
    """Tells nothing. See `Observer`."""

    def say(self, text: str) -> None:
        pass

    def watching(self, run: LiveRun) -> AbstractContextManager[object]:
        return nullcontext()


SILENT = SilentObserver()
