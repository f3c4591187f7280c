"""What a page begins with where there is more to say than the verdict on each run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .markup import Html, element, scrolling


@dataclass(frozen=True, slots=True)
class Opening:
    """Stands above everything else. `title`: of the whole page; `sections`: identifier, heading and content of each."""

    title: str
    sections: Sequence[tuple[str, str, Html]]


def sortable_table(label: str, header: Sequence[str], rows: Sequence[Sequence[str]], class_: str = "extra") -> Html:
    """A table that is sorted by its headings where scripts run, and scrolls where there is no room.

    Args:
        label: What it is, for those who cannot see it.
        header: Names of the columns.
        rows: Cells, as many in each row as there are columns; the first one names the row. Text, or elements of cells.
        class_: Of the table; one of them is `extra`.
    """
    head = element("tr", *(element("th", name, scope="col", data_sorts="") for name in header))
    body = (element("tr", *(_cell(at, cell) for at, cell in enumerate(row))) for row in rows)
    table = element("table", element("thead", head), element("tbody", *body), class_=class_)
    return scrolling(table, label)


def _cell(at: int, content: str) -> Html:
    if isinstance(content, Html) and content.startswith("<td"):
        return content
    return element("th", content, scope="row", class_="text") if at == 0 else element("td", content)
