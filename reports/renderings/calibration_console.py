"""What the client adds, on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from ..calibration.calibration import EXPECTED_E2E_MS, INPUT_TOKENS, OUTPUT_TOKENS, Added, Point
from ..formatting import milliseconds
from ..text import clean
from .facts import client_facts
from .fitted_table import Column, Row, print_table
from .terminal import BriefConsole

_COUNT_FOR_P999 = 1000
_COLUMNS = ("start", "ttft", "itl", "e2e", "server", "off", "lag", "CPU ms")
_NAMES = {"start": "start (sent - due)", "ttft": "ttft", "itl": "itl (each gap)", "e2e": "e2e"}


def search_heading() -> str:
    """The heading of a search's lines."""
    return (
        "p99 in ms: what the client adds (start: sent - due); e2e by the server's log,\n"
        "and how far off the client's is; lag of the client's loop; CPU time per request.\n\n"
        f"{'requests/s':>10} {''.join(f'{name:>7}' for name in _COLUMNS)}"
    )


def search_line(point: Point) -> str:
    """A rate as a line of the table, with why it failed in lines of their own."""
    cells = [
        _milliseconds(added.p99_ms if added else None) for added in (point.start, point.ttft, point.itl, point.e2e)
    ]
    cells += [
        _milliseconds(point.server_e2e_p99_ms),
        "-" if point.e2e_error is None else f"{point.e2e_error:+.1%}",
        _milliseconds(point.client.lag_p99_ms if point.client else None),
        _milliseconds(point.cpu_ms_per_request),
    ]
    line = f"{point.request_rate:>10g} {''.join(f'{cell:>7}' for cell in cells)}"
    return "\n".join(
        [f"{line}  no" if point.failed else f"{line}  ok", *(f"{'':>12}{clean(why)}" for why in point.failed)]
    )


def print_point(console: Console, point: Point) -> None:
    """One rate: the verdict first, then what the client adds, then its account of itself."""
    for line in _verdict_lines(point):
        console.print(line)
    if isinstance(console, BriefConsole):
        return
    console.print()
    _print_added(console, point)
    console.print()
    if point.e2e_error is not None:
        console.print(
            f"e2e p99 {_milliseconds(point.client_e2e_p99_ms)} ms by the client, "
            f"{_milliseconds(point.server_e2e_p99_ms)} ms by the server's log: {point.e2e_error:+.2%}"
        )
    text = f"{point.requests} requests of {INPUT_TOKENS} input and {OUTPUT_TOKENS} output tokens, {point.samples} "
    text += "also in the server's log" if point.has_truth else "succeeded"
    console.print(f"{text}, {point.achieved_rate:.2f}/s achieved")
    if point.coalesced:
        console.print(f"{point.coalesced} requests received some chunks together")
    if point.client is not None:
        of_each = f" ({_milliseconds(point.cpu_ms_per_request)} ms per request)"
        console.print(f"client: {client_facts(point.client)}{of_each}")


def _verdict_lines(point: Point) -> list[Text]:
    at_rate = f" at {point.request_rate:g} requests/s"
    lines = [
        Text("NOT TRUSTED", style="bold yellow") + Text(f"{at_rate}: {clean(why)}", style="default")
        for why in point.failed
    ]
    if point.failed and point.server_was_slow:
        server_ms = _milliseconds(point.server_e2e_p99_ms)
        why = f"the null server was slow: {server_ms} ms at p99 by its own log, {EXPECTED_E2E_MS} ms expected"
        lines.append(Text(f"note: {why}", style="yellow"))
    if not point.failed and point.has_truth:
        lines.append(Text("TRUSTED", style="bold green") + Text(at_rate, style="default"))
    if not point.has_truth:
        why = "this server keeps no log, so what the client adds to ttft, itl and e2e is unknown"
        lines.append(Text("PUNCTUAL" if not point.failed else "note", style="bold yellow") + f"{at_rate}: {why}")
    return lines


def _print_added(console: Console, point: Point) -> None:
    columns = [
        Column("the client adds, ms", is_text=True),
        Column("p50", rank=1),
        Column("p99"),
        Column("p99.9", rank=2),
    ]
    added: dict[str, Added | None] = {"start": point.start, "ttft": point.ttft, "itl": point.itl, "e2e": point.e2e}
    rows = []
    for name, value in added.items():
        if value is not None:
            p999 = milliseconds(value.p999_ms) if point.samples >= _COUNT_FOR_P999 else "-"
            rows.append(Row([_NAMES[name], milliseconds(value.p50_ms), milliseconds(value.p99_ms), p999]))
    print_table(console, columns, rows, elsewhere="--json has all")


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else milliseconds(value)
