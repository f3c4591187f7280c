"""The terminal: where what people read is printed, and where nothing of others' may act."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TextIO

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RenderHook, RenderResult
from rich.control import Control
from rich.segment import Segment
from rich.text import Text

from ..text import MARK, without_commands

_NO_LIMIT = 100_000
"""Columns of what is no terminal: a file or a pipe, where lines are copied and searched, has them whole."""


def terminal(*, stderr: bool = False, soft_wrap: bool = False, is_brief: bool = False) -> Console:
    """The console that every command prints to: no markup, and what is printed can neither move the cursor nor give
    the log of a CI job a command, wherever lines are wrapped.

    Lines are wrapped between words where a terminal is, or COLUMNS says how wide; words stay whole, and so do paths
    and URLs. With `soft_wrap` no line is wrapped. `is_brief`: it is a `BriefConsole`.
    """
    width = _width(sys.stderr if stderr else sys.stdout)
    console = (BriefConsole if is_brief else Terminal)(
        stderr=stderr, soft_wrap=soft_wrap, highlight=False, markup=False, emoji=False, width=width, height=25
    )
    return guarded(console)


def _width(stream: TextIO) -> int | None:
    """In columns; None: as rich finds out, each time anew."""
    if os.environ.get("COLUMNS", "").isdigit():
        return None
    if not stream.isatty():
        return _NO_LIMIT
    if os.environ.get("TERM") not in ("dumb", "unknown"):
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):
        return None


class Terminal(Console):
    """A console that breaks lines between words only: a path or a URL that is longer than a line can be copied."""

    def print(self, *objects: Any, **settings: Any) -> None:
        """As rich does."""
        if len(objects) == 1 and isinstance(objects[0], Text) and not (self.soft_wrap or settings.get("soft_wrap")):
            objects, settings = (wrapped(objects[0], self.width),), {**settings, "soft_wrap": True}
        elif len(objects) == 1 and isinstance(objects[0], str):
            self.print(Text(objects[0]), **settings)
            return
        super().print(*objects, **settings)


class BriefConsole(Terminal):
    """A console for --quiet: whoever prints to it leaves out all but what was found and where it is."""


def wrapped(text: Text, width: int) -> Text:
    """The text with line breaks in the place of spaces. A word that is longer than a line has one of its own."""
    if text.no_wrap or text.cell_len <= width:
        return text
    lines = [line for paragraph in text.split("\n", allow_blank=True) for line in _broken(paragraph, width)]
    return Text("\n").join(lines)


def _broken(text: Text, width: int) -> Iterator[Text]:
    start = end = 0
    for word in re.finditer(r"\s*\S+", text.plain):
        if end > start and cell_len(text.plain[start : word.end()]) > width:
            yield text[start:end]
            start = word.end() - len(word[0].lstrip())
        end = word.end()
    yield text[start:end]


def guarded(console: Console) -> Console:
    """A console that prints nothing but characters to be seen, and those that its encoding has."""
    console.push_render_hook(_Border())
    return console


class _Border(RenderHook):
    """Stands between whatever is printed and the terminal: one more name in a table need not remember it."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [one if isinstance(one, Control) else _Cleaned(one) for one in renderables]


class _Cleaned:
    def __init__(self, content: RenderableType) -> None:
        self._content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        encoding = console.encoding
        for line in _lines(console.render(self._content, options)):
            yield from _without_commands([_shown(segment, encoding) for segment in line])


def _lines(segments: Iterable[Segment]) -> Iterator[list[Segment]]:
    """The segments of each line, its end with it."""
    line: list[Segment] = []
    for segment in segments:
        if segment.control:
            line.append(segment)
            continue
        for part in segment.text.splitlines(keepends=True):
            line.append(Segment(part, segment.style))
            if part.endswith("\n"):
                yield line
                line = []
    yield line


def _shown(segment: Segment, encoding: str) -> Segment:
    if segment.control:
        return segment
    text = segment.text
    if not text.isprintable():
        text = "".join(char if char.isprintable() or char == "\n" else MARK for char in text)
    return Segment(text.encode(encoding, "replace").decode(encoding), segment.style)


def _without_commands(line: Sequence[Segment]) -> Sequence[Segment]:
    """A line that would have been a command loses its styles: one may begin in the midst of it."""
    text = "".join(segment.text for segment in line if not segment.control)
    harmless = without_commands(text)
    return line if harmless == text else [*(one for one in line if one.control), Segment(harmless)]
