"""A plain table with a heading and some words: what others add to a report."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Section:
    """Everything in it is text, and is shown as it is, markup or not.

    Attributes:
        text: Paragraphs above the table.
        header: Names of the columns. Without any there is no table.
        rows: Cells, as many in each row as there are columns; the first one names the row.
    """

    title: str
    text: list[str]
    header: list[str]
    rows: list[list[str]]
