"""HDR pictures in characters: latency over the number of nines, both axes logarithmic."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hdrh.histogram import HdrHistogram

from ..formatting import milliseconds
from ..statistics.percentile import values_at

_MOST_NINES = 5.0
_LEAST_NINES = 2.0
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Of a Braille character, by row and column (Unicode, chapter 21.1)."""
_BLANK = 0x2800
_LABEL_COLUMNS = 7
_LEAST_RATIO = 1.25
"""Of the axis, top over bottom: what hardly varies should look flat."""
_MARKS = ((0.0, "0"), (1.0, "90"), (2.0, "99"), (3.0, "99.9"), (4.0, "99.99"))


def percentile_picture(
    histogram: HdrHistogram, title: str, *, columns: int = 25, rows: int = 4, has_braille: bool = True
) -> list[str]:
    """A percentile curve, as lines of the same length: a title, `rows` rows, and an axis with its labels.

    Args:
        histogram: Microseconds; with something in it.
        title: Of the first line.
        columns: Of all lines, labels included.
        rows: Of the picture itself.
        has_braille: Whether what shows it can show Braille patterns; else it is made of stars.
    """
    width, across, down = columns - _LABEL_COLUMNS - 1, 2 if has_braille else 1, 4 if has_braille else 1
    nines = min(max(math.log10(histogram.get_total_count()), _LEAST_NINES), _MOST_NINES)
    num_columns, num_rows = width * across, rows * down
    percentiles = [100 * (1 - 10 ** -(nines * place / (num_columns - 1))) for place in range(num_columns - 1)]
    values = [math.log(max(value, 1)) for value in values_at(histogram, [*percentiles, 100.0])]
    low, high = _bounds(values[0], values[-1])
    heights = [round((value - low) / (high - low) * (num_rows - 1)) for value in values]
    dots = {(column, row) for column in range(num_columns) for row in _filled(heights, column)}
    draw = _braille if has_braille else _stars
    labels = [_label(high), *[""] * (rows - 2), _label(low)]
    lines = [f"{label:>{_LABEL_COLUMNS}}|{draw(dots, width, rows - 1 - row)}" for row, label in enumerate(labels)]
    return [f"{title:<{columns}}"[:columns], *lines, " " * _LABEL_COLUMNS + _axis(width, nines)]


def side_by_side(pictures: Sequence[Sequence[str]], gap: int = 1) -> list[str]:
    """Pictures of equal height as one."""
    return [(" " * gap).join(parts).rstrip() for parts in zip(*pictures, strict=True)]


def _bounds(low: float, high: float) -> tuple[float, float]:
    """Logarithms that the axis ends at."""
    short_by = math.log(_LEAST_RATIO) - (high - low)
    return (low - short_by / 2, high + short_by / 2) if short_by > 0 else (low, high)


def _filled(heights: Sequence[int], column: int) -> range:
    """Rows of a column: from its own height down to just above that of the column before, so that steps are joined."""
    before = heights[column - 1] if column else heights[column]
    return range(min(before + 1, heights[column]), heights[column] + 1)


def _braille(dots: set[tuple[int, int]], width: int, row: int) -> str:
    """`row`: counted from below."""
    return "".join(
        chr(
            _BLANK
            + sum(
                bit
                for down, bits in enumerate(_DOTS)
                for across, bit in enumerate(bits)
                if (2 * column + across, 4 * row + 3 - down) in dots
            )
        )
        for column in range(width)
    )


def _stars(dots: set[tuple[int, int]], width: int, row: int) -> str:
    return "".join("*" if (column, row) in dots else " " for column in range(width))


def _label(logarithm: float) -> str:
    value_ms = math.exp(logarithm) / 1e3
    return f"{milliseconds(value_ms)} " if value_ms < 99_999 else f"{value_ms / 1e3:.0f} s"


def _axis(width: int, nines: float) -> str:
    line = ""
    for place, text in _MARKS:
        column = min(round(place / nines * (width - 1)), width - len(text))
        if place > nines + 1e-9 or (line and column <= len(line)):
            continue
        line = line.ljust(column) + text
    return f" {line}"[: width + 1].ljust(width + 1)
