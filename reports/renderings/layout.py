"""How a finding, a fact or a judged rule becomes a line: its label, then its words, by tone."""

from __future__ import annotations

from typing import Protocol

from rich.text import Text

from ..summary.finding import Tone
from ..text import clean

STYLES = {
    Tone.BAD: "bold red",
    Tone.CAUTION: "bold yellow",
    Tone.GOOD: "bold green",
    Tone.WHY: "bold cyan",
    Tone.NOTICE: "bold magenta",
    Tone.PLAIN: "bold",
}
"""Of a label on the terminal."""


class Labelled(Protocol):
    """What can be laid out as a line. Label and words may come from outside."""

    @property
    def label(self) -> str:
        """Its first word or words."""

    @property
    def tone(self) -> Tone:
        """How a reader should take it."""

    @property
    def words(self) -> str:
        """The rest of the line."""


def plain_line(item: Labelled) -> str:
    """As in `FLAGGED: ttft p99 is 23.5x its median`."""
    return clean(f"{item.label}: {item.words}")


def styled_line(item: Labelled, label_columns: int = 0) -> Text:
    """The same for a terminal; with `label_columns` the label is padded to a column of this width instead."""
    label = f"{clean(item.label):<{label_columns}} " if label_columns else f"{clean(item.label)}: "
    return Text.assemble((label, STYLES[item.tone]), clean(item.words))
