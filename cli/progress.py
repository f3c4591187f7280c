"""What a run shows while it goes on: one live line on a terminal, a line now and then in a log."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ..reports.console import milliseconds
from ..reports.recorder import ALL
from ..reports.run_file import RunWriter
from ..workloads.load_generator import LoadGenerator, RunLimits

_TERMINAL_EVERY_S = 0.5
_LOG_EVERY_S = 15.0


class Progress:
    """Tells a person on stderr how far a run is."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, text: str) -> None:
        """Print one line."""
        self._console.print(f"abatch: {text}", soft_wrap=True)

    @contextmanager
    def showing(self, generator: LoadGenerator, writer: RunWriter, limits: RunLimits) -> Iterator[None]:
        """Keep showing the state of a run until the context is left."""
        if self._console.is_terminal:
            with Live(console=self._console, auto_refresh=False, transient=True) as live:

                def show(line: Text) -> None:
                    live.update(line, refresh=True)

                with _repeating(lambda: show(_line(generator, writer, limits)), _TERMINAL_EVERY_S):
                    yield
        else:
            with _repeating(
                lambda: self._console.print(_line(generator, writer, limits), soft_wrap=True), _LOG_EVERY_S
            ):
                yield


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


def _line(generator: LoadGenerator, writer: RunWriter, limits: RunLimits) -> Text:
    totals, counts = writer.recorder.totals, generator.counts
    elapsed_s = generator.elapsed_s
    end = f"/{limits.duration_s:.0f}" if limits.duration_s is not None else ""
    phase = "warming up" if elapsed_s < limits.warmup_s else "measuring"
    if limits.duration_s is not None and elapsed_s > limits.duration_s:
        phase = "draining"
    parts = [
        f"{phase} {elapsed_s:.0f}{end} s",
        f"{counts.live_sessions} sessions",
        f"{counts.in_flight} in flight",
        f"{totals.succeeded} done",
    ]
    ttft = writer.recorder.percentiles_ms("ttft", ALL, (50.0, 99.0))
    if ttft is not None:
        parts.append(f"ttft p50 {milliseconds(ttft[0])} p99 {milliseconds(ttft[1])} ms")
    line = Text(", ".join(parts))
    num_errors = sum(totals.errors.values())
    if num_errors:
        line.append(f", {num_errors} errors", style="bold red")
    return line
