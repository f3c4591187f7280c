"""The terminal: where what people read is printed, and where nothing of others' may act."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RenderHook, RenderResult
from rich.control import Control
from rich.segment import Segment

from ..text import MARK, without_commands


def terminal(*, stderr: bool = False, soft_wrap: bool = False) -> Console:
    """The console that every command prints to: no markup, and what is printed can neither move the cursor nor give
    the log of a CI job a command, wherever lines are wrapped.
    """
    return guarded(Console(stderr=stderr, soft_wrap=soft_wrap, highlight=False, markup=False, emoji=False))


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
