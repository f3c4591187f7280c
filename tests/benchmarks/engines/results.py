"""What was measured of all servers, kept in a file from the first window on, and as tables in Markdown."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from abatch.engine.simulation.model_shape import ModelShape
from benchmarks.engines.closed_loop import OUTPUT_TOKENS, PROMPT_TOKENS, Measured
from benchmarks.engines.machine_floor import DTYPE_BYTES, Floor, step_needs

OURS = "abatch"


@dataclass(frozen=True, slots=True)
class Cell:
    """A window of one server.

    Attributes:
        turn: Which of the turns of this dtype, from 0.
    """

    dtype: str
    server: str
    turn: int
    num_streams: int
    measured: Measured


@dataclass(slots=True)
class Results:
    """All of it.

    Attributes:
        about: The machine, versions and options.
        failures: What could not be measured, and why.
    """

    about: dict[str, Any]
    floor: Floor | None = None
    starts_s: dict[str, list[float]] = field(default_factory=dict)
    cells: list[Cell] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def save(self, path: Path | None) -> None:
        """As JSON, if there is a path."""
        if path is not None:
            path.write_text(json.dumps(asdict(self), indent=2))

    def of(self, dtype: str, server: str, num_streams: int) -> list[Cell]:
        """The windows of a cell, by their turns."""
        key = dtype, server, num_streams
        return [cell for cell in self.cells if (cell.dtype, cell.server, cell.num_streams) == key]

    def markdown(self, shape: ModelShape) -> Iterator[str]:
        """Tables: throughput and its ratios, latency, and the machine's floor."""
        yield "".join(f"{name}: {value}\n" for name, value in self.about.items())
        yield self._throughput()
        yield self._latency()
        if self.cells:
            yield f"The client took {max(cell.measured.client_share for cell in self.cells):.1%} of a core at most.\n"
        if self.floor is not None:
            yield self._floor(self.floor, shape)
        yield from self.failures

    def _rows(self) -> list[tuple[str, int]]:
        return list(dict.fromkeys((cell.dtype, cell.num_streams) for cell in sorted(self.cells, key=_by_size)))

    def _servers(self) -> list[str]:
        """Ours last."""
        return sorted(dict.fromkeys(cell.server for cell in self.cells), key=lambda name: name == OURS)

    def _throughput(self) -> str:
        """Medians of the turns (least to most)."""
        servers = self._servers()
        others = [name for name in servers if name != OURS] if OURS in servers else []
        head = ["dtype", "streams", *(f"{name} tok/s" for name in servers), *(f"{OURS} / {name}" for name in others)]
        rows = []
        for dtype, streams in self._rows():
            rates = {name: [c.measured.tokens_per_s for c in self.of(dtype, name, streams)] for name in servers}
            ratios = [self._ratios(dtype, name, streams) for name in others]
            row = [dtype, str(streams), *(_spread(rates[name], 1) for name in servers)]
            rows.append([*row, *(_spread(ratio, 2) for ratio in ratios)])
        return _table(head, rows)

    def _ratios(self, dtype: str, other: str, streams: int) -> list[float]:
        """Ours to theirs, turn by turn."""
        theirs = {cell.turn: cell.measured.tokens_per_s for cell in self.of(dtype, other, streams)}
        ours = self.of(dtype, OURS, streams)
        return [cell.measured.tokens_per_s / theirs[cell.turn] for cell in ours if cell.turn in theirs]

    def _latency(self) -> str:
        head = ["dtype", "streams", "server", "ttft p50 ms", "ttft p99", "itl p50", "itl p99", "p99 / p50"]
        rows = []
        for dtype, streams in self._rows():
            for server in self._servers():
                if measured := [cell.measured for cell in self.of(dtype, server, streams)]:
                    row = [dtype, str(streams), server]
                    row += [_spread([one.ttft_p50_ms for one in measured], 0)]
                    row += [_spread([one.ttft_p99_ms for one in measured], 0)]
                    row += [_spread([one.itl_p50_ms for one in measured], 1)]
                    row += [_spread([one.itl_p99_ms for one in measured], 1)]
                    row += [_spread([one.itl_p99_ms / one.itl_p50_ms for one in measured], 2)]
                    rows.append(row)
        return _table(head, rows)

    def _floor(self, floor: Floor, shape: ModelShape) -> str:
        """What a step must do, and what share of its time that is."""
        best = ", ".join(f"{flops / 1e9:.0f} GFLOP/s in {dtype}" for dtype, flops in floor.flops_per_s.items())
        lines = [
            f"The machine reads {floor.read_bytes_per_s / 1e9:.1f} GB/s, copies {floor.copy_bytes_per_s / 1e9:.1f} "
            f"(read and written), and multiplies large matrices at {best}.\n"
        ]
        servers = self._servers()
        head = ["dtype", "streams", "MB", "GFLOP", "floor ms", "bound by", "its products by torch ms"]
        head += [f"{name} ms (share)" for name in servers]
        head += [f"{OURS}: device ms", "host ms", "neither ms"] if OURS in servers else []
        rows = []
        for dtype, streams in self._rows():
            needs = step_needs(shape, dtype, streams, PROMPT_TOKENS, OUTPUT_TOKENS)
            memory_s, arithmetic_s = needs.least_s(floor, dtype)
            least_ms = max(memory_s, arithmetic_s) * 1e3
            row = [dtype, str(streams), f"{needs.num_bytes / 1e6:.0f}", f"{needs.num_flops / 1e9:.2f}"]
            row += [f"{least_ms:.1f}", "memory" if memory_s > arithmetic_s else "arithmetic"]
            row += [f"{floor.products_s[dtype][str(streams)] * 1e3:.1f}"]
            for server in servers:
                times_ms = [streams / cell.measured.tokens_per_s * 1e3 for cell in self.of(dtype, server, streams)]
                middle_ms = statistics.median(times_ms) if times_ms else math.nan
                row.append(f"{middle_ms:.1f} ({least_ms / middle_ms:.0%})" if times_ms else "-")
            if OURS in servers:
                row += self._of_our_engine(dtype, streams)
            rows.append(row)
        return "\n".join([*lines, _table(head, rows)])

    def _of_our_engine(self, dtype: str, streams: int) -> list[str]:
        """Of the time in which every stream gets a token: the device's, the host's, and what is neither."""
        parts: list[tuple[float, float, float]] = []
        for cell in self.of(dtype, OURS, streams):
            one = cell.measured
            per_token_ms = streams / one.tokens_per_s * 1e3
            device, host = (one.counters[name] / one.window_s for name in ("device_busy_seconds", "host_seconds"))
            parts.append((device * per_token_ms, host * per_token_ms, (1 - device - host) * per_token_ms))
        return [_spread(list(values), 1) for values in zip(*parts, strict=True)] or ["-"] * 3


def _by_size(cell: Cell) -> tuple[int, int]:
    return list(DTYPE_BYTES).index(cell.dtype), cell.num_streams


def _spread(values: list[float], decimals: int) -> str:
    """The median, and the least and the most where there are several."""
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return "-"
    middle = f"{statistics.median(known):,.{decimals}f}"
    return f"{middle} ({min(known):,.{decimals}f} to {max(known):,.{decimals}f})" if len(known) > 1 else middle


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
