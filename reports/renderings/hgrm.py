"""Histograms as HdrHistogram's percentile distributions (`.hgrm`), which its plotter and others' tools read."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from urllib.parse import quote

from hdrh.histogram import HdrHistogram

from ..atomic_file import write_atomically
from ..statistics.percentile import recorded
from .shown_run import ShownRun

_TICKS_PER_HALF_DISTANCE = 5
"""Lines for each halving of the distance to 100%: the default of HdrHistogram's own tools."""
_US_PER_MS = 1000.0
_LONGEST_NAME = 200


def write_hgrm(run: ShownRun, folder: Path) -> list[Path]:
    """Write one file for each metric and class, as `ttft.chat.hgrm`; the folder is made if its parent is there.

    Raises:
        OSError: it cannot be written.
    """
    folder.mkdir(exist_ok=True)
    written = []
    for name, histogram in run.histograms.items():
        path = folder / f"{safe_file_name(name)}.hgrm"
        write_atomically(path, render_hgrm(histogram).encode())
        written.append(path)
    return written


def safe_file_name(name: str) -> str:
    """A name of this folder, whatever the text: class names come from traces. Different texts have different names."""
    quoted = quote(name, safe="", errors="surrogatepass")
    if quoted.startswith("."):
        quoted = f"%2E{quoted[1:]}"
    if len(quoted) <= _LONGEST_NAME:
        return quoted
    return f"{quoted[:_LONGEST_NAME]}-{hashlib.sha256(quoted.encode()).hexdigest()[:16]}"


def render_hgrm(histogram: HdrHistogram) -> str:
    """The distribution of a histogram of microseconds, in milliseconds, character for character as the Java tools'.

    Not by hdrh's own `output_percentile_distribution`: its ticks do not halve the distance to 100%, its standard
    deviation is not scaled, and its total is named otherwise than in every other implementation.
    """
    values = list(_recorded(histogram))
    total = sum(count for _, _, count in values)
    lines = ["       Value     Percentile TotalCount 1/(1-Percentile)", ""]
    for highest_us, level, seen in _levels(values, total):
        line = f"{_ms(highest_us)} {_fixed(level / 100, 12)} {seen:10d}"
        lines.append(line if level == 100 else f"{line} {_fixed(1 / (1 - level / 100), 2):>14}")
    mean_us = sum(median_us * count for _, median_us, count in values) / total if total else 0.0
    squares = sum((median_us - mean_us) ** 2 * count for _, median_us, count in values)
    deviation_us = math.sqrt(squares / total) if total else 0.0
    max_us = values[-1][0] if values else 0
    lines += [
        f"#[Mean    = {_ms(mean_us)}, StdDeviation   = {_ms(deviation_us)}]",
        f"#[Max     = {_ms(max_us)}, Total count    = {total:12d}]",
        f"#[Buckets = {histogram.bucket_count:12d}, SubBuckets     = {histogram.sub_bucket_count:12d}]",
        "",
    ]
    return "\n".join(lines)


def _ms(value_us: float) -> str:
    return f"{_fixed(value_us / _US_PER_MS, 3):>12}"


def _fixed(value: float, digits: int) -> str:
    """As Java rounds: what lies half way between two numbers, as many percentile levels do, goes up."""
    return f"{Decimal(repr(value)).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP):f}"


def _recorded(histogram: HdrHistogram) -> Iterator[tuple[int, int, int]]:
    """(highest value, median value, count) of each place that has any: what all implementations report of it."""
    for lowest_us, highest_us, count in recorded(histogram):
        yield highest_us, lowest_us + (highest_us - lowest_us + 1) // 2, count


def _levels(values: Sequence[tuple[int, int, int]], total: int) -> Iterator[tuple[int, float, int]]:
    """(value, percentile, samples up to the value): the levels of HdrHistogram's percentile iterator."""
    level, seen = 0.0, 0
    for highest_us, _, count in values:
        seen += count
        while 100.0 * seen / total >= level:
            yield highest_us, level, seen
            halvings = int(math.log(100.0 / (100.0 - level)) / math.log(2)) + 1
            level += 100.0 / (_TICKS_PER_HALF_DISTANCE * 2**halvings)
            if seen == total:
                yield highest_us, 100.0, seen
                return
