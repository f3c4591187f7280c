"""What a run shows while it goes on: one live line on a terminal, a line every 15 s in a log."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from ...reports.formatting import milliseconds
from ...reports.recording.recorder import ALL
from ...reports.renderings.terminal import BriefConsole
from ...reports.text import clean
from ...workloads.result import Result
from ...workloads.run_limits import RunLimits
from ..measuring.observer import LiveRun

if TYPE_CHECKING:
    from rich.live import Live

_TERMINAL_EVERY_S = 0.5
_LOG_EVERY_S = 15.0


class Progress:
    """Tells a person on stderr how far a run is. See `Observer`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._is_silent = isinstance(console, BriefConsole)

    def say(self, text: str) -> None:
        """Print one line."""
        if self._is_silent:
            return
        with _whatever_the_terminal_does():
            self._console.print(f"abatch: {clean(text)}", soft_wrap=True)

    @contextmanager
    def watching(self, run: LiveRun) -> Iterator[None]:
        """Keep showing the state of a run until the context is left."""
        if self._is_silent:
            yield
            return
        with ExitStack() as stack:
            if self._console.is_terminal:
                from rich.live import Live

                live = stack.enter_context(_shown(Live(console=self._console, auto_refresh=False, transient=True)))
                every_s = _TERMINAL_EVERY_S

                def show() -> None:
                    with _whatever_the_terminal_does():
                        live.update(_line(run), refresh=True)
            else:
                every_s = _LOG_EVERY_S

                def show() -> None:
                    with _whatever_the_terminal_does():
                        self._console.print(_line(run), soft_wrap=True)

            if run.is_virtual:
                run.writer.watchers.append(_at_most_every(every_s, show))
            else:
                stack.enter_context(_repeating(show, every_s))
            yield


def _whatever_the_terminal_does() -> AbstractContextManager[None]:
    """A run goes on when its terminal was closed, or when the disk that its output goes to is full."""
    return contextlib.suppress(OSError)


@contextmanager
def _shown(live: Live) -> Iterator[Live]:
    with _whatever_the_terminal_does():
        live.start()
    try:
        yield live
    finally:
        with _whatever_the_terminal_does():
            live.stop()


def _at_most_every(seconds: float, action: Callable[[], None]) -> Callable[[Result], None]:
    """Acts on a result if the last time was long enough ago, by the real clock."""
    next_s = time.monotonic() + seconds

    def on_result(_: Result) -> None:
        nonlocal next_s
        if time.monotonic() >= next_s:
            next_s = time.monotonic() + seconds
            action()

    return on_result


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


def _line(run: LiveRun) -> Text:
    limits, counts, elapsed_s = run.limits, run.sender.counts, run.sender.elapsed_s
    end = f"/{limits.duration_s:.0f}" if limits.duration_s is not None else ""
    phase = "warming up" if elapsed_s < limits.warmup_s else "measuring"
    if limits.duration_s is not None and elapsed_s > limits.duration_s:
        phase = "draining"
    left_s = time_left_s(limits, elapsed_s, counts.sessions_ended, counts.turns_succeeded + counts.turns_failed)
    at_most = "at most " if phase == "draining" else ""
    left = "" if left_s is None else f", {at_most}{left_s:.0f} s left"
    parts = [
        f"{phase} {elapsed_s:.0f}{end} s{left}",
        f"{counts.live_sessions} sessions",
        f"{counts.in_flight} in flight",
        f"{counts.turns_succeeded} done",
    ]
    ttft = run.writer.recorder.percentiles_ms("ttft", ALL, (50.0, 99.0))
    if ttft is not None:
        parts.append(f"ttft p50 {milliseconds(ttft[0])} p99 {milliseconds(ttft[1])} ms")
    line = Text(", ".join(parts))
    if counts.turns_failed:
        line.append(f", {counts.turns_failed} errors", style="bold red")
    return line


def time_left_s(limits: RunLimits, elapsed_s: float, sessions_ended: int, requests_ended: int = 0) -> float | None:
    """Until a run has ended, the end of its drain at the latest: by its duration, or by how fast sessions or requests
    end so far.

    None until there is something to tell by.
    """
    if limits.duration_s is not None and elapsed_s > limits.duration_s:
        return max(limits.duration_s + limits.drain_s - elapsed_s, 0.0)
    known = [] if limits.duration_s is None else [limits.duration_s - elapsed_s]
    if limits.num_sessions is not None and sessions_ended:
        known.append(elapsed_s * max(limits.num_sessions - sessions_ended, 0) / sessions_ended)
    if limits.num_requests is not None and requests_ended:
        known.append(elapsed_s * max(limits.num_requests - requests_ended, 0) / requests_ended)
    return min(known, default=None)
