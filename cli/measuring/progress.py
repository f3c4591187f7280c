"""What a run shows while it goes on: one live line on a terminal, a line now and then in a log."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ...reports.formatting import milliseconds
from ...reports.recording.recorder import ALL
from ...reports.run.folder import RunWriter
from ...workloads.result import Result
from ...workloads.run_limits import RunLimits
from .sender import Sender

_TERMINAL_EVERY_S = 0.5
_LOG_EVERY_S = 15.0


class ShownRun:
    """A run on display. `sender` is to be set when there is one."""

    def __init__(
        self, writer: RunWriter, limits: RunLimits, show: Callable[[Text], None], every_s: float, *, is_virtual: bool
    ) -> None:
        self.sender: Sender | None = None
        self._writer = writer
        self._limits = limits
        self._show = show
        self._every_s = every_s
        self._is_virtual = is_virtual
        self._next_s = time.monotonic() + every_s

    def add(self, result: Result) -> None:
        """Record a result. In virtual time this is when to look at the real clock: no timer knows of it."""
        self._writer.add(result)
        if self._is_virtual and time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + self._every_s
            self.draw()

    def draw(self) -> None:
        """Show how far the run is."""
        if self.sender is not None:
            self._show(_line(self.sender, self._writer, self._limits))


class Progress:
    """Tells a person on stderr how far a run is."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, text: str) -> None:
        """Print one line."""
        self._console.print(f"abatch: {text}", soft_wrap=True)

    @contextmanager
    def showing(self, writer: RunWriter, limits: RunLimits, *, is_virtual: bool) -> Iterator[ShownRun]:
        """Keep showing the state of a run until the context is left."""
        with ExitStack() as stack:
            if self._console.is_terminal:
                live = stack.enter_context(Live(console=self._console, auto_refresh=False, transient=True))
                every_s = _TERMINAL_EVERY_S

                def show(line: Text) -> None:
                    live.update(line, refresh=True)
            else:
                every_s = _LOG_EVERY_S

                def show(line: Text) -> None:
                    self._console.print(line, soft_wrap=True)

            run = ShownRun(writer, limits, show, every_s, is_virtual=is_virtual)
            if not is_virtual:
                stack.enter_context(_repeating(run.draw, every_s))
            yield run


@contextmanager
def _repeating(action: Callable[[], None], every_s: float) -> Iterator[None]:
    async def repeat() -> None:
        while True:
            await asyncio.sleep(every_s)
            action()

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            if task.done():
                task.result()


def _line(sender: Sender, writer: RunWriter, limits: RunLimits) -> Text:
    counts, elapsed_s = sender.counts, sender.elapsed_s
    end = f"/{limits.duration_s:.0f}" if limits.duration_s is not None else ""
    phase = "warming up" if elapsed_s < limits.warmup_s else "measuring"
    if limits.duration_s is not None and elapsed_s > limits.duration_s:
        phase = "draining"
    left_s = time_left_s(limits, elapsed_s, counts.sessions_ended)
    at_most = "at most " if phase == "draining" else ""
    left = "" if left_s is None else f", {at_most}{left_s:.0f} s left"
    parts = [
        f"{phase} {elapsed_s:.0f}{end} s{left}",
        f"{counts.live_sessions} sessions",
        f"{counts.in_flight} in flight",
        f"{counts.turns_succeeded} done",
    ]
    ttft = writer.recorder.percentiles_ms("ttft", ALL, (50.0, 99.0))
    if ttft is not None:
        parts.append(f"ttft p50 {milliseconds(ttft[0])} p99 {milliseconds(ttft[1])} ms")
    line = Text(", ".join(parts))
    if counts.turns_failed:
        line.append(f", {counts.turns_failed} errors", style="bold red")
    return line


def time_left_s(limits: RunLimits, elapsed_s: float, sessions_ended: int) -> float | None:
    """Until a run has ended, the end of its drain at the latest: by its duration, or by how fast sessions end so far.

    None while nobody can tell.
    """
    if limits.duration_s is not None and elapsed_s > limits.duration_s:
        return max(limits.duration_s + limits.drain_s - elapsed_s, 0.0)
    known = [] if limits.duration_s is None else [limits.duration_s - elapsed_s]
    if limits.num_sessions is not None and sessions_ended:
        known.append(elapsed_s * max(limits.num_sessions - sessions_ended, 0) / sessions_ended)
    return min(known, default=None)
