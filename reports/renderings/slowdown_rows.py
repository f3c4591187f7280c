"""Slowdowns and what time was spent on, as the cells of a table: of the terminal, of Markdown, of HTML."""

from __future__ import annotations

from collections.abc import Iterator

from ..formatting import counted, milliseconds, times
from ..recording.idle_model import IdleModel
from ..recording.recorder import ALL
from ..recording.slowdown import SLOWED
from ..summary.slowdown import SlowdownSummary, Spent
from ..summary.summary import Summary

HEADER = ("x idle", *(name for metric in SLOWED for name in (metric, "p99")), "work", "waiting", "interference")
"""After the class, by metric the median slowdown and its p99."""
SLOWEST = "slowest 1%"
_LEAST_FOR_P99 = 100
"""Samples: with fewer there is none beyond a p99."""


def slowdown_rows(summary: Summary) -> Iterator[list[str]]:
    """A row for each class; below that of the verdict, what its slowest requests spent their time on."""
    for name in shown_classes(summary):
        values = [cell for metric in SLOWED for cell in _cells(summary.slowdown.get(metric, {}).get(name))]
        shares = summary.time_spent.get(name)
        yield [name, *values, *(share_cells(shares.mean) if shares is not None else ["-"] * 3)]
        if shares is not None and name == summary.verdict_class:
            yield [SLOWEST, *[""] * len(values), *share_cells(shares.tail)]


def shown_classes(summary: Summary) -> list[str]:
    """Those that have slowdowns. With a single class, that it is all says enough."""
    names = list(dict.fromkeys(name for by_class in summary.slowdown.values() for name in by_class))
    if len(names) != 2:
        return names
    return [summary.verdict_class if summary.verdict_class in names else ALL]


def _cells(value: SlowdownSummary | None) -> list[str]:
    if value is None:
        return ["-", "-"]
    return [times(value.p50), times(value.p99) if value.count >= _LEAST_FOR_P99 else "-"]


def share_cells(spent: Spent) -> list[str]:
    """Work, waiting and interference in percent."""
    return [f"{share:.0%}" for share in (spent.work, spent.waiting, spent.interference)]


_VARIES = 0.5
"""Of the fastest probe: a server that is this uneven when idle makes slowdowns too large."""


def idle_facts(idle: IdleModel) -> str:
    """What a request takes on the idle server, in one line: slowdowns rest on it."""
    ends = dict.fromkeys((idle.points[0], idle.points[-1]))
    ttft = ", ".join(f"{milliseconds(point.ttft_ms)} ms at {point.prompt_tokens:,.0f}" for point in ends)
    words = f"ttft {ttft} uncached prompt tokens"
    if idle.itl_base_ms:
        words += f", then {milliseconds(idle.itl_ms(idle.points[0].prompt_tokens, 0))} ms per output token"
    if idle.is_probed:
        varies = f"; of one size they differed up to {1 + idle.spread:.1f}-fold" if idle.spread > _VARIES else ""
        return f"{words} ({counted(idle.requests, 'request')} before the run{varies})"
    return f"none; the run's own fastest requests are {words}, so slowdowns may be too small"
