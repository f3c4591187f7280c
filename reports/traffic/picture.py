"""Pictures of traffic in characters: arrivals over time, and distributions on a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from ..statistics.tally import Tally

_BLOCKS = " ▁▂▃▄▅▆▇█"
_EIGHTHS = len(_BLOCKS) - 1
_LOG_COLUMNS = 56
_FEWEST_PER_DECADE = 5


def bars(counts: Sequence[int], height: int) -> list[str]:
    """Upright bars, a column each, as lines from the top. What is there at all shows, however small."""
    most = max(counts, default=0)
    eighths = [math.ceil(count * height * _EIGHTHS / most) if count else 0 for count in counts]
    return [
        "".join(_BLOCKS[min(max(value - row * _EIGHTHS, 0), _EIGHTHS)] for value in eighths).rstrip()
        for row in reversed(range(height))
    ]


def duration(seconds: float) -> str:
    """A time with its unit, for an axis: `90 s`, `1.5 h`."""
    for unit, length_s, least_s in (("d", 86400, 172_800), ("h", 3600, 7200), ("min", 60, 300)):
        if seconds >= least_s:
            return f"{round(seconds / length_s, 1):g} {unit}"
    return f"{round(seconds, 1):g} s"


def short_count(value: float) -> str:
    """A number of at most four characters, for an axis: `100`, `10k`."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def timeline(counts: Sequence[int], column_s: float, height: int = 4) -> list[str]:
    """Counts over time, with axes: lines of at most 15 columns more than there are counts."""
    most = str(max(counts, default=0))
    margin = max(len(most), 2)
    lines = [
        f"{label:>{margin}} |{bar}" for label, bar in zip([most, *[""] * height], bars(counts, height), strict=False)
    ]
    lines.append(f"{0:>{margin}} +{'-' * len(counts)}")
    marks = [(column, duration(column * column_s)) for column in (0, len(counts) // 2, len(counts))]
    if len(counts) < 24:
        del marks[1]
    return [*lines, " " * (margin + 2) + _labels(marks)]


class LogAxis:
    """An axis of whole decades that holds what is counted in some tallies.

    Attributes:
        columns: Its width in characters.
    """

    def __init__(self, tallies: Iterable[Tally], *, least: int = 1) -> None:
        numbers = [number for tally in tallies for number, _ in tally.items()]
        low, high = max(min(numbers, default=least), least), max(max(numbers, default=least), least)
        self._first = _decade(low)
        num_decades = max(_decade(high) + 1 - self._first, 1)
        self._per_decade = max(_LOG_COLUMNS // max(num_decades, 3), _FEWEST_PER_DECADE)
        self._has_less = min(numbers, default=least) < 10**self._first
        self.columns = num_decades * self._per_decade

    def picture(self, tally: Tally) -> str:
        """A tally's histogram, a line high. Numbers below the axis are at its beginning."""
        counts = [0] * self.columns
        for number, count in tally.items():
            place = (math.log10(max(number, 1)) - self._first) * self._per_decade
            counts[min(max(int(place + 1e-9), 0), self.columns - 1)] += count
        return bars(counts, 1)[0]

    def scale(self) -> str:
        """The axis itself: a mark at each decade."""
        return "".join("+" + "-" * (self._per_decade - 1) for _ in range(self.columns // self._per_decade)) + "+"

    def labels(self, unit: float = 1.0) -> str:
        """What the marks stand for, in units of so much."""
        marks = range(self.columns // self._per_decade + 1)
        texts = [short_count(10 ** (self._first + mark) / unit) for mark in marks]
        if self._has_less:
            texts[0] = f"<{texts[0]}"
        return _labels([(mark * self._per_decade, text) for mark, text in zip(marks, texts, strict=True)])


def _decade(number: int) -> int:
    """The number of digits behind the first. A logarithm may be off by one at powers of ten."""
    return len(str(number)) - 1


def _labels(marks: Iterable[tuple[int, str]]) -> str:
    """Texts at columns. One without a place is left out."""
    line = ""
    for column, text in marks:
        if column > len(line) or not line:
            line = line.ljust(column) + text
    return line
