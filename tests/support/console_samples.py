"""Samples of a session at the terminal in documents: the commands, and what they printed."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
_PROMPT = "$ "
_LEFT_OUT = "..."
_ROW = re.compile(r"^((?:x idle|[a-z_]+)(?: p[\d.]+(?:/p[\d.]+)?)?) .*$")
"""A line of a table: what it is about, then cells. Which of them differ by chance nobody can say beforehand."""
_NUMBER = re.compile(r"[-+]?\d[\d,.]*")


@dataclass(frozen=True, slots=True)
class ConsoleSample:
    """What a reader sees: commands with `$` before them, then the output of the last. `...` stands for lines left out.

    Attributes:
        servers: The commands that end with `&`, as words: servers, which run while the last one does.
        before: Those that end before the last one begins, as words.
        words: The last command, as words.
        shown: Its output, in parts that have something left out between them.
    """

    servers: tuple[tuple[str, ...], ...]
    before: tuple[tuple[str, ...], ...]
    words: tuple[str, ...]
    shown: tuple[str, ...]

    @property
    def is_exact(self) -> bool:
        """Whether the numbers are the same each time: virtual time has no noise."""
        return any(word.startswith("simulated:") for word in self.words)


def samples_of(document: Path) -> list[ConsoleSample]:
    """Every sample of a document, in order."""
    return [_sample(block) for block in _BLOCK.findall(document.read_text())]


def _sample(block: str) -> ConsoleSample:
    lines = block.replace("\\\n", " ").splitlines()
    commands = [tuple(shlex.split(line.removeprefix(_PROMPT))) for line in lines if line.startswith(_PROMPT)]
    output = "\n".join(line for line in lines if not line.startswith(_PROMPT))
    parts = re.split(rf"^{re.escape(_LEFT_OUT)}$", output, flags=re.MULTILINE)
    *others, last = commands
    return ConsoleSample(
        servers=tuple(words[:-1] for words in others if words[-1] == "&"),
        before=tuple(words for words in others if words[-1] != "&"),
        words=last,
        shown=tuple(part for part in parts if part.strip()),
    )


def shape(text: str) -> str:
    """What stays the same from run to run: words without numbers or line breaks, and what each row is about."""
    lines = [_ROW.sub(r"\1 |", line) if "  " in line.strip() else line for line in text.splitlines()]
    return _NUMBER.sub("#", " ".join(" ".join(lines).split()))
