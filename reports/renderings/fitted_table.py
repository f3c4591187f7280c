"""A table as wide as the terminal at most: what does not fit is left out by column and named, and no number is cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..text import clean

Cell = str | Text
_LABEL, _SHORTEST_LABEL = 12, 4
"""Characters that a label keeps as long as there are columns to leave out, and what it keeps in any case."""


@dataclass(frozen=True, slots=True)
class Column:
    """How a column is laid out, and how soon it is left out.

    Attributes:
        name: Its header.
        rank: The highest rank is left out first, all columns of it together; those of rank 0 are never left out.
        is_text: It is aligned to the left. If it is the first one, its cells are labels: they may be cut.
        wraps: Its cells are sentences, which take several lines where they must.
        in_note: What it is called among those left out, if its name is not enough.
    """

    name: str
    rank: int = 0
    is_text: bool = False
    wraps: bool = False
    in_note: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of a row, one for each column, and the style of all of it."""

    cells: Sequence[Cell]
    style: str = ""


def print_table(
    console: Console, columns: Sequence[Column], rows: Sequence[Row], *, gap: int = 1, elsewhere: str
) -> None:
    """Print as many of the columns as fit; then, if some do not, a line that names them.

    Args:
        console: Where to, and how wide that is.
        columns: From left to right.
        rows: The table.
        gap: Spaces between columns.
        elsewhere: Where all columns can be seen, such as `--csv FILE has them`.
    """
    widths = _fitted(columns, rows, gap, console.width)
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold")
    for place, width in widths.items():
        column = columns[place]
        table.add_column(
            clean(column.name),
            justify="left" if column.is_text else "right",
            width=width,
            no_wrap=not column.wraps,
            overflow="ellipsis" if _is_label(place, column) else "fold",
        )
    is_whole = len(widths) == len(columns)
    for row in rows:
        cells = [row.cells[place] for place in widths]
        if is_whole or any(str(cell).strip() for cell in cells[1:]):
            table.add_row(*cells, style=row.style)
    console.print(table, width=max(console.width, _total(widths, gap)), crop=False)
    if not is_whole:
        names = [column.in_note or column.name for place, column in enumerate(columns) if place not in widths]
        left_out = ", ".join(dict.fromkeys(clean(name) for name in names if name))
        console.print(Text(f"not shown at {console.width} columns: {left_out} ({elsewhere})", style="dim"))


def _fitted(columns: Sequence[Column], rows: Sequence[Row], gap: int, room: int) -> dict[int, int]:
    """The width of each column that is shown, by its place."""
    natural = [_natural_width(place, column, rows) for place, column in enumerate(columns)]
    widths = {place: _least_width(place, column, rows, natural[place]) for place, column in enumerate(columns)}
    while _total(widths, gap) > room and (rank := max(columns[place].rank for place in widths)) > 0:
        widths = {place: width for place, width in widths.items() if columns[place].rank != rank}
    if _is_label(0, columns[0]):
        least = min(natural[0], _SHORTEST_LABEL)
        widths[0] = max(least, widths[0] + min(0, room - _total(widths, gap)))
    for place, width in widths.items():
        widths[place] += max(0, min(room - _total(widths, gap), natural[place] - width))
    return widths


def _is_label(place: int, column: Column) -> bool:
    return place == 0 and column.is_text


def _natural_width(place: int, column: Column, rows: Sequence[Row]) -> int:
    return max(cell_len(clean(column.name)), *(cell_len(str(row.cells[place])) for row in rows), 1)


def _least_width(place: int, column: Column, rows: Sequence[Row], natural: int) -> int:
    """What it takes so that no number and no word is cut; of labels, enough to tell them apart."""
    if _is_label(place, column):
        return min(natural, _LABEL)
    if not column.wraps:
        return natural
    words = (word for row in rows for word in str(row.cells[place]).split())
    return max(cell_len(clean(column.name)), *map(cell_len, words), 1)


def _total(widths: Mapping[int, int], gap: int) -> int:
    return sum(widths.values()) + gap * (len(widths) - 1)
